"""semigen: classifiers from few labels, with generative models of the unlabeled rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semigen.classifiers.classifier import Classifier
    from semigen.classifiers.semi_supervised import SemiSupervisedClassifier
    from semigen.synthesizer import Synthesizer

__all__ = ["SemiSupervisedClassifier", "Synthesizer", "load"]
__version__ = "0.1.0"


def load(folder: str | Path) -> Classifier | SemiSupervisedClassifier | Synthesizer:
    """Load a saved model; no pickle is loaded.

    Returns:
        What was saved: a ``SemiSupervisedClassifier``, a ``Synthesizer``, or the ``Classifier`` of
        the pipeline, such as ``models/classifier``.

    Raises:
        UserError: If there is none in the folder.
    """
    folder = Path(folder)
    if (folder / "estimator.json").exists():
        from semigen.classifiers.semi_supervised import SemiSupervisedClassifier

        return SemiSupervisedClassifier.load(folder)
    if (folder / "synthesizer.json").exists():
        from semigen.synthesizer import Synthesizer

        return Synthesizer.load(folder)
    from semigen.classifiers.classifier import Classifier

    return Classifier.load(folder)


def __getattr__(name: str) -> Any:
    # Imported when asked for: torch and scikit-learn take seconds.
    if name == "SemiSupervisedClassifier":
        from semigen.classifiers.semi_supervised import SemiSupervisedClassifier

        return SemiSupervisedClassifier
    if name == "Synthesizer":
        from semigen.synthesizer import Synthesizer

        return Synthesizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
