"""Serve the board on this machine until it is interrupted."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path

from ..errors import SqgenError
from ..extras import required
from ..formats.files import error_reason
from .access import TOKEN, Access
from .catalog import Catalog
from .places import check_folder

HOST = "127.0.0.1"
PORT, PORTS = 8642, 20  # the first that is tried, and how many
THREADS = 8
_HEADER_LIMIT, _BODY_LIMIT = 1 << 15, 1 << 10  # bytes of a request


class Server:
    """A board that listens, and answers when it is `run`.

    Args:
        folder: that of the runs.
        port: None for the first free one from `PORT` on; 0 for any.

    Attributes:
        address: with the token.

    Raises:
        FormatError: the folder can't be listed.
        MissingExtraError: Flask or waitress is not installed.
        SqgenError: the port is in use, or can't be had.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        check_folder(folder)
        with required("flask", "sqgen board"):
            from .app import make_app
        with required("waitress", "sqgen board"):
            from waitress.server import create_server
        # A browser asks for more at once than there are threads, which is no matter to warn of.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        listening = _listen(port)
        port = listening.getsockname()[1]
        access = Access(port)
        self.catalog = Catalog(folder)
        self.address = f"http://{HOST}:{port}/?{TOKEN}={access.token}"
        self._server = create_server(
            make_app(self.catalog, access),
            sockets=[listening],
            threads=THREADS,
            ident=None,
            max_request_header_size=_HEADER_LIMIT,
            max_request_body_size=_BODY_LIMIT,
        )

    def run(self) -> None:
        """Answer until Ctrl-C or SIGTERM."""
        self._server.run()

    def close(self) -> None:
        """Stop listening."""
        self._server.close()


def _listen(port: int | None) -> socket.socket:
    if port is not None:
        return _bind(port)
    for tried in range(PORT, PORT + PORTS):
        try:
            return _bind(tried)
        except SqgenError:
            continue
    return _bind(0)


def _bind(port: int) -> socket.socket:
    """Return a socket that listens on a port.

    Raises:
        SqgenError: it is in use, or not allowed.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows it would share the port of another program
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(64)
    except OSError as error:
        listening.close()
        raise SqgenError(
            f"port {port}: {error_reason(error)}; give another --port, or none"
        ) from None
    return listening
