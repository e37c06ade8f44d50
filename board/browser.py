"""Open the board in a browser without its address on a command line, which all users can read."""

from __future__ import annotations

import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import templates


@contextmanager
def opened_in_browser(address: str) -> Iterator[None]:
    """Open an address, by a page of this user's alone that leads there and is then removed."""
    with tempfile.TemporaryDirectory(prefix="sqgen-board-", ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "board.html"
        page.write_text(templates.render("board_enter.html.j2", address=address), "utf-8")
        # A browser of the terminal stays until it is left.
        threading.Thread(target=webbrowser.open, args=[page.as_uri()], daemon=True).start()
        yield
