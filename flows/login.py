"""The login of a project's Prefect server, without which no request is answered.

Whoever can send requests to the server can run code on the hosts of its workers, and any page in a
browser can send requests to the loopback interface. The browser does not attach this login by
itself, so a page of another origin cannot use it. That also covers DNS rebinding: a foreign host
name that resolves to 127.0.0.1 is an origin of its own, without the login.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from semigen.artifacts import make_private_folder
from semigen.errors import UserError

SERVICE_FOLDER = ".prefect/service"
LOGIN = "PREFECT_SERVER_API_AUTH_STRING"
"""Environment variable with the login that the server requires, as ``user:password``."""
CLIENT_LOGIN = "PREFECT_API_AUTH_STRING"
"""Environment variable with the login that Prefect's clients send, as ``user:password``."""
USER = "semigen"


def login_file(root: Path) -> Path:
    """Return the file with the generated login of a project's server."""
    return root / SERVICE_FOLDER / "login"


def server_login(root: Path) -> str | None:
    """Return the login of a project's own server: that of the environment, or the generated one.

    Returns:
        ``user:password``; None if there is neither.
    """
    if login := os.environ.get(LOGIN):
        return login
    try:
        return login_file(root).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def ensure_login(root: Path) -> None:
    """Generate a login for a project's own server, unless there is one.

    Raises:
        UserError: If the login of the environment has no user or no password.
    """
    login = server_login(root)
    if login is None:
        path = login_file(root)
        make_private_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{new_login()}\n")
    elif not all(login.partition(":")):
        raise UserError(f"{LOGIN}: must be user:password")


def new_login() -> str:
    """Return a random login."""
    return f"{USER}:{secrets.token_urlsafe(24)}"


def own_server_variables(root: Path) -> dict[str, str]:
    """Return the variables that give the login to a project's own server and its clients."""
    login = server_login(root)
    return {LOGIN: login, CLIENT_LOGIN: login} if login else {}


def shared_server_variables() -> dict[str, str]:
    """Return the variable that gives clients the login of a server that was started elsewhere."""
    login = os.environ.get(CLIENT_LOGIN) or os.environ.get(LOGIN)
    return {CLIENT_LOGIN: login} if login else {}
