"""The ``semigen`` command."""
