"""One module a stage: read artifacts, call the core, write artifacts.

Every stage is a plain function ``run(params, layout) -> None`` in the module of its name, a command
(``python -m tasks STAGE``, the ``cmd`` of its DVC stage) and a task run of the flow.
"""

STAGES = (
    "sample",
    "validate",
    "preprocess",
    "pretrain",
    "augment",
    "train",
    "evaluate",
    "report",
)
"""Stages in the order in which data passes them; ``dvc.yaml`` says what depends on what."""
