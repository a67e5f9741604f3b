"""Names of the ablation's committees and the rows that each may learn from besides labeled ones."""

ABLATION = {
    "unlabeled": frozenset({"unlabeled"}),
    "synthetic": frozenset({"synthetic"}),
    "all": frozenset({"unlabeled", "synthetic"}),
}
"""Rows that a committee may use besides labeled ones. The generator of the synthetic rows is always
trained on unlabeled rows; ``synthetic`` allows no other use of unlabeled rows."""
LEARNS_FROM = {
    "unlabeled": "labels and unlabeled rows",
    "synthetic": "labels and synthetic rows",
    "all": "labels, unlabeled and synthetic rows",
}
