"""Configuration of pytest that the tests in ``tests`` and the doctests in ``semigen`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Use one thread in each of several processes, which otherwise wait for each other's threads.

    No variable is set, so that the processes that tests start have the environment of a user.
    """
    if hasattr(config, "workerinput"):
        import sklearn.ensemble  # noqa: F401 - loads the OpenMP library whose threads are limited
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(1)
        threadpool_limits(1)
