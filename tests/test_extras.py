"""Optional packages: what happens while they load."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sqgen.extras import required


def swallow(number: int) -> None:
    """Load as OpenCV does, which catches all that is raised in a part of it."""
    try:
        signal.raise_signal(number)
        sum(range(1000))  # where a handler runs at the latest
    except BaseException:
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_not_lost_while_a_package_loads(number: signal.Signals) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(number, handle)
    try:
        with pytest.raises(SystemExit) as ended, required("cv2", "reading images"):
            swallow(number)
        assert ended.value.code == 128 + number
        assert signal.getsignal(number) is handle
        with required("cv2", "reading images"):
            pass
    finally:
        signal.signal(number, before)
