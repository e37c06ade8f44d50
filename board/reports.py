"""Reports of runs, made when they are asked for, and again when a file of a run changed."""

from __future__ import annotations

import html
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import FormatError
from ..text import printable
from .catalog import stamp
from .child import run_python
from .places import RUN, Place

MAX_REPORTS = 8  # that are remembered, of two megabytes at most
_MAKE = f"from {__package__.rpartition('.')[0]}.__main__ import main; main()"
_POLICY = re.compile(rb'http-equiv="Content-Security-Policy" content="([^"]*)"')


class Report(NamedTuple):
    """A page, and the Content-Security-Policy under which it works."""

    page: bytes
    policy: str


class Reports:
    """The reports that were made; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[object, Report] = OrderedDict()

    def get(self, places: Sequence[Place]) -> Report:
        """Return the report on some runs.

        Raises:
            SqgenError: there is nothing to report, or the command fails.
        """
        for place in places:
            _refuse_links(place)
        key = tuple((place.id, stamp(place)) for place in places)
        with self._lock:  # one at a time, since each takes a core
            report = self._made.pop(key, None) or _make(places)
            self._made[key] = report
            while len(self._made) > MAX_REPORTS:
                self._made.popitem(last=False)
            return report


def _refuse_links(place: Place) -> None:
    """Refuse a run with files that are links, which may lead anywhere.

    Raises:
        FormatError: it has such files.
    """
    paths = [place.path / name for name in place.files] if place.kind == RUN else [place.path]
    for path in paths:
        if os.path.islink(path):
            name = printable(path.name)
            raise FormatError(f"{name}: is a link, which the board does not follow")


def _make(places: Sequence[Place]) -> Report:
    sources = [os.path.abspath(place.path) for place in places]  # noqa: PTH100 - follows no link
    page = run_python(_MAKE, ["report", "-o", "-", "--", *sources])
    found = _POLICY.search(page)
    policy = html.unescape(found[1].decode()) if found is not None else "default-src 'none'"
    return Report(page, f"{policy}; frame-ancestors 'none'")
