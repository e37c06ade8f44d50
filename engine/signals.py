"""What SIGINT, SIGHUP and SIGTERM ask of a training (src/caffe/util/signal_handler.cpp)."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

STOP, SNAPSHOT, NONE = "stop", "snapshot", "none"
EFFECTS = (STOP, SNAPSHOT, NONE)


class Requests:
    """Signals that came, each told once; handlers are in place within a `with`."""

    def __init__(self, sigint: str = STOP, sighup: str = SNAPSHOT) -> None:
        self.effects = {signal.SIGINT: sigint, signal.SIGTERM: STOP}
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None:
            self.effects[hangup] = sighup
        self._came: set[int] = set()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Requests:
        for number in self.effects:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._came.add(number)

    def next(self) -> str:
        """The effect of a signal that came since it was last asked: SIGINT's first."""
        for number, effect in self.effects.items():
            if number in self._came:
                self._came.discard(number)
                return effect
        return NONE
