"""Checks of the dependencies, which ``make`` runs."""
