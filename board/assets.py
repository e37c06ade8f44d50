"""The style and the scripts of the board, each under an address that changes with its content."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from typing import NamedTuple

from .. import templates
from ..report.charts import VERSION
from ..report.page import SCRIPT, STYLE
from ..report.theme import css_variables
from .child import run_python

_MAKING = threading.Lock()
_BUNDLE = f"""
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle(vl_version={VERSION!r}).encode())
"""
CSS, JAVASCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"


class Asset(NamedTuple):
    """A file of the board, made when it is asked for."""

    make: Callable[[], str]
    media_type: str


def _style() -> str:
    return templates.render(STYLE, colours=css_variables()) + templates.render("board_style.css.j2")


def _library() -> str:
    with _MAKING:  # several pages may ask while it is made
        return made_library()


@lru_cache(maxsize=1)
def made_library() -> str:
    """Return `vega_bundle()`, made elsewhere: it stops all threads, and takes 150 MB for good."""
    return run_python(_BUNDLE).decode()


def _script(name: str) -> Asset:
    return Asset(lambda: templates.render(name), JAVASCRIPT)


ASSETS = {
    "style.css": Asset(_style, CSS),
    "theme.js": _script("board_theme.js.j2"),
    "page.js": _script(SCRIPT),
    "board.js": _script("board_script.js.j2"),
    "index.js": _script("board_table.js.j2"),
    "curves.js": _script("board_curves.js.j2"),
    "run.js": _script("board_follow.js.j2"),
    "compare.js": _script("board_overlay.js.j2"),
    "vega.js": Asset(_library, JAVASCRIPT),
}


@lru_cache(maxsize=1)
def asset_addresses() -> dict[str, str]:
    """Return the address of each asset, by name."""
    addresses = {}
    for name, asset in ASSETS.items():
        # The library takes seconds to make, and changes with the installed version alone.
        text = version("vl-convert-python") if name == "vega.js" else asset.make()
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        addresses[name] = f"/static/{digest}/{name}"
    return addresses
