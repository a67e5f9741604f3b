"""What a committee may learn from beside labels, and what that is called."""

ABLATION = {
    "unlabeled": frozenset({"unlabeled"}),
    "synthetic": frozenset({"synthetic"}),
    "all": frozenset({"unlabeled", "synthetic"}),
}
"""Synthetic rows come from a generator of the unlabeled ones; ``synthetic`` means these and nothing
else that was learned from unlabeled rows."""
LEARNS_FROM = {
    "unlabeled": "labels and unlabeled rows",
    "synthetic": "labels and synthetic rows",
    "all": "labels, unlabeled and synthetic rows",
}
