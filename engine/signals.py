"""What SIGINT, SIGHUP and SIGTERM request of a training (src/caffe/util/signal_handler.cpp)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | None  # what signal.signal returns

STOP, SNAPSHOT, NONE = "stop", "snapshot", "none"


def signal_effects(sigint: str, sighup: str) -> dict[int, str]:
    """Return signal -> its effect, SIGINT's first."""
    effects: dict[int, str] = {signal.SIGINT: sigint, signal.SIGTERM: STOP}
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    return effects if hangup is None else {**effects, hangup: sighup}


class SignalHandler:
    """Turns signals into requests to the solver; installed within a `with`."""

    def __init__(self, sigint: str = STOP, sighup: str = SNAPSHOT) -> None:
        self.effects = signal_effects(sigint, sighup)
        self._received: set[int] = set()
        self._previous: dict[int, Handler] = {}

    def __enter__(self) -> SignalHandler:
        for number in self.effects:
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *details: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._received.add(number)

    def next_request(self) -> str:
        """Return the effect of a pending signal, SIGINT's first, and clear it; `none` if none."""
        for number, effect in self.effects.items():
            if number in self._received:
                self._received.discard(number)
                return effect
        return NONE
