"""Which fault ended a training: the first cause among the ends of ranks, and hangs.

A rank that loses a peer ends too, often before the peer's own end is known. Only durations of this
machine's monotonic clock count.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import CrashError, PeerLostError, SqgenError, StallError
from .watch import Report

# How an end of a rank is classed.
REFUSAL, CRASH, INTERRUPT, STALL = "refusal", "crash", "interrupt", "stall"
LOST, SYMPTOM = "lost", "symptom"  # another machine; a rank, which others know more of
# Seconds from a fault until it is judged: a crash may be the end of a rank that lost a peer; other
# ranks may refuse the same; a rank that lost a peer may know before the launcher does.
PATIENCE = {REFUSAL: 2.0, CRASH: 0.5, INTERRUPT: 2.0, STALL: 0.0, LOST: 1.0, SYMPTOM: 5.0}
SILENT = 5.0  # seconds without a report, of a rank that others lost
START_SECONDS = 120.0  # in which a rank loads PyTorch, on a slow or busy machine
EXCHANGE = "exchange"  # the phase in which ranks wait for each other
_STOPS = tuple(
    int(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


@dataclass(frozen=True)
class Fault:
    """How a rank ended.

    Attributes:
        kind: one of the kinds above.
        rank: which one; None if it concerns all alike.
        text: what happened, without the rank's name where it is the rank's own fatal line.
        exit_code: of the run.
        place: file:line of that fatal line, or "".
        who: the rank in words.
    """

    kind: str
    rank: int | None
    text: str
    exit_code: int
    place: str = ""
    who: str = ""

    @property
    def may_restart(self) -> bool:
        """Whether the training can go on from its newest snapshot."""
        return self.kind in (CRASH, STALL, SYMPTOM)

    def __str__(self) -> str:
        if self.rank is None:
            return self.text
        return f"{self.who} {self.text}" if self.who else f"rank {self.rank}: {self.text}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def fault_of_exit(
    rank: int, who: str, code: int, fatal: tuple[str, str] | None, last_line: str
) -> Fault | None:
    """Return the fault of a rank that ended.

    Args:
        rank: its number.
        who: its name in messages.
        code: its exit code; negative for a signal.
        fatal: its fatal line: file:line and message; None if it printed none.
        last_line: the last one that it printed.

    Returns:
        None if it completed.
    """
    if code == 0:
        return None
    place, text = fatal or ("", "")
    if code == PeerLostError.exit_code and fatal is not None:
        return Fault(SYMPTOM, rank, text, CrashError.exit_code, place)
    number = -code if code < 0 else code - 128
    if number in _STOPS:
        name = signal.Signals(number).name
        return Fault(INTERRUPT, rank, f"was stopped by {name}", 128 + number, who=who)
    if fatal is not None:
        kind = REFUSAL if code <= SqgenError.exit_code else CRASH
        return Fault(kind, rank, text, code, place)
    last = f"; its last line: {last_line}" if last_line else ""
    if number > 0:
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        if number == signal.SIGKILL:
            last = ", as the system does when memory runs out"
        return Fault(CRASH, rank, f"was killed by {name}{last}", CrashError.exit_code, who=who)
    text = f"ended with exit code {code} and no reason{last}"
    return Fault(CRASH, rank, text, CrashError.exit_code, who=who)


@dataclass
class _Watched:
    """A rank as it is watched; times in seconds."""

    who: str
    heard: float
    progressed: float
    report: Report = field(default_factory=Report)
    has_ended: bool = False

    def patience(self, seconds: float, start: float) -> float:
        """Return the seconds without news that are a hang: more at the start."""
        return seconds if self.report.marks else max(seconds, start)

    def describe(self, now: float) -> str:
        """Say what it did last, and when."""
        at = "" if self.report.marks == 0 else f" of iteration {self.report.iteration}"
        return f"{self.report.phase}{at}, {now - self.progressed:.0f} s ago"


class Judge:
    """Collects what is known of the ranks of one attempt, and judges.

    Args:
        ranks: rank -> its name in messages.
        stall_timeout: seconds without progress that are a hang; 0 for never.
        now: the time, in seconds of a monotonic clock.
        start: seconds, at least, until a rank that did nothing yet counts as hanging.
    """

    def __init__(
        self,
        ranks: Mapping[int, str],
        stall_timeout: float,
        now: float,
        start: float = START_SECONDS,
    ) -> None:
        self._ranks = {rank: _Watched(who, now, now) for rank, who in ranks.items()}
        self._timeout, self._start = stall_timeout, start
        self._faults: list[Fault] = []
        self._first_fault = now

    def hear(self, rank: int, report: Report, now: float) -> None:
        """Receive what a rank did last."""
        watched = self._ranks.get(rank)
        if watched is None:
            return
        watched.heard = now
        if report.marks != watched.report.marks:
            watched.report, watched.progressed = report, now

    def end(self, rank: int, fault: Fault | None, now: float) -> None:
        """Receive the end of a rank."""
        if rank in self._ranks:
            self._ranks[rank].has_ended = True
        if fault is not None:
            self.accuse(fault, now)

    def accuse(self, fault: Fault, now: float) -> None:
        """Receive a fault of a rank, or of the connection to some."""
        if not self._faults:
            self._first_fault = now
        self._faults.append(fault)

    @property
    def all_ended(self) -> bool:
        """Whether no rank is left."""
        return all(watched.has_ended for watched in self._ranks.values())

    def verdict(self, now: float) -> Fault | None:
        """Return the fault that ends the training; None while there is none to be sure of."""
        if not self._faults:
            return self._find_stall(now)
        cause = next((x for x in self._faults if x.kind != SYMPTOM), self._faults[0])
        if not self.all_ended and now - self._first_fault < PATIENCE[cause.kind]:
            return None
        if cause.kind == SYMPTOM:
            return self._find_silent(now, SILENT) or cause
        if cause.kind == REFUSAL and self._all_say(cause.text):
            return Fault(cause.kind, None, cause.text, cause.exit_code, cause.place)
        return cause

    def _all_say(self, text: str) -> bool:
        """Whether all ranks refuse for the same reason, which is none of a rank."""
        return len(self._faults) == len(self._ranks) and all(x.text == text for x in self._faults)

    # Hangs

    def _find_stall(self, now: float) -> Fault | None:
        active = [x for x in self._ranks.values() if not x.has_ended]
        if not self._timeout or not active:
            return None
        silent = self._find_silent(now, self._timeout)
        if silent is not None:
            return silent
        if any(now - x.progressed <= x.patience(self._timeout, self._start) for x in active):
            return None
        # The others wait in the exchange for the one that does something else.
        rank = min(
            (rank for rank, x in self._ranks.items() if not x.has_ended),
            key=lambda rank: (
                self._ranks[rank].report.phase == EXCHANGE,
                self._ranks[rank].report.iteration,
                self._ranks[rank].progressed,
            ),
        )
        return self._stall(rank, f"hangs in {self._ranks[rank].describe(now)}")

    def _find_silent(self, now: float, seconds: float) -> Fault | None:
        silent = [
            (x.heard, rank)
            for rank, x in self._ranks.items()
            if not x.has_ended and now - x.heard > x.patience(seconds, self._start)
        ]
        if not silent:
            return None
        heard, rank = min(silent)
        text = f"is silent for {now - heard:.0f} s, as one that was stopped"
        return self._stall(rank, f"{text}; its last: {self._ranks[rank].describe(now)}")

    def _stall(self, rank: int, text: str) -> Fault:
        return Fault(STALL, rank, text, StallError.exit_code, who=self._ranks[rank].who)

    def describe_ranks(self, now: float) -> list[str]:
        """Say of each rank what it did last, and when."""
        return [
            f"rank {rank}: {'ended' if x.has_ended else x.describe(now)}"
            for rank, x in sorted(self._ranks.items())
        ]
