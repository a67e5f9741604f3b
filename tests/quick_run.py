"""Parameters of a run of the whole pipeline that takes few seconds."""

QUICK = [
    "sample.dataset=wine",
    "sample.n_labeled=30",
    "pretrain.vae.epochs=5",
    "augment.ratio=2",
    "train.epochs=5",
    "train.folds=2",
    "train.repeats=1",
    "evaluate.n_bootstrap=100",
]
