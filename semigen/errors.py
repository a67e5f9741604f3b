"""The exception for errors that the user can correct, and errors of the machine in one line."""

from __future__ import annotations

from semigen.wording import hide_cells, printable, printed


class UserError(ValueError):
    """An error in data, parameters or files that the user can correct.

    The message is one line that names the file, column, row or parameter and the remedy; control
    characters in it are escaped. Commands print it without a traceback (unless ``--debug`` is
    given) and exit with status 1. ``stored`` is the message without the values of cells that
    ``wording.cell`` marks. It is a ``ValueError``, as scikit-learn expects of estimators
    that reject their input.

    Examples:
        >>> from semigen.params.config import Params
        >>> try:
        ...     Params.load("missing.yaml")
        ... except UserError as error:
        ...     print(error)
        missing.yaml: cannot read parameters: No such file or directory
    """

    def __str__(self) -> str:
        return printable(printed(super().__str__()))

    @property
    def stored(self) -> str:
        """The message without values of cells, for reports and the log of a server."""
        return printable(hide_cells(super().__str__()))


FULL_DISK = "No space left on device"
NO_MEMORY = (
    "not enough memory",
    "out of memory",
    "can't start new thread",
    "Cannot allocate memory",
    "failed to map segment",
)
"""Messages of torch, CUDA, Python and the system; other libraries raise ``MemoryError``."""


def describe_system_error(error: BaseException) -> str | None:
    """Return one line about a full disk, too little memory or a file that cannot be used.

    Args:
        error: Any exception.

    Returns:
        None for other errors, which are mistakes of the program.

    Examples:
        >>> describe_system_error(PermissionError(13, "Permission denied", "out.csv"))
        'out.csv: Permission denied'
    """
    text = " ".join(str(error).split())
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    if FULL_DISK in text:
        return printable(f"{where}{FULL_DISK}; free some space and run the command again")
    if isinstance(error, MemoryError) or any(message in text for message in NO_MEMORY):
        return (
            "out of memory; close other programs, or raise the limit of the process (ulimit -v), "
            "and run the command again"
        )
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{where}{error.strerror}")
    return None
