"""The one exception that is the user's to mend."""


class UserError(Exception):
    """A mistake in data, parameters or files that the user can mend.

    The message is one line that names the file, column, row or parameter and the remedy. Commands
    print it without a traceback (unless ``--debug``) and exit with status 1.
    """
