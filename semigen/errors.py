"""The exception for errors that the user can correct."""

from semigen.wording import printable


class UserError(ValueError):
    """An error in data, parameters or files that the user can correct.

    The message is one line that names the file, column, row or parameter and the remedy; control
    characters in it are escaped. Commands print it without a traceback (unless ``--debug`` is
    given) and exit with status 1. It is a ``ValueError``, as scikit-learn expects of estimators
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
        return printable(super().__str__())
