"""How a run ended: nothing, or the one error that says why, what to do, and where its log is."""

from __future__ import annotations

import re
import signal

from ..errors import CrashError, RefusedError, ResourceError, RunError, StoppedError
from ..logs.result import Fatal, LogResult
from ..text import printable
from .engines import TORCH, Engine
from .subprocess_guard import NOT_RUN, SIGNALLED, Child

# What a fatal message has where memory, the disk or the GPU is what does not do.
_ROOM = re.compile(
    r"out of memory|bad_alloc|no room|No space|SerializeToOstream|Cannot use GPU|cuda|CUDNN|CUBLAS"
    r"|Multi-GPU|several GPUs",
    re.IGNORECASE,
)


def error_of(engine: Engine, child: Child, result: LogResult, log: str) -> RunError | None:
    """The error that a run ended in; None where it came to its end.

    Args:
        engine: what ran.
        child: the process, which has ended.
        result: what its log says.
        log: the path of the log.
    """
    error = _error(engine, child, result)
    if error is None:
        return None
    made = type(error)(f"{error}; its log: {printable(log)}")
    made.exit_code, made.result = error.exit_code, result
    return made


def _error(engine: Engine, child: Child, result: LogResult) -> RunError | None:
    name, code = printable(engine.name), child.code or 0
    if child.asked is not None and not (result.completed and not code):
        return _stopped(child, result)
    if result.fatal is not None:
        return _class_of(result.fatal)(f"{name}: {_told(engine, result.fatal)}")
    last = "; ".join(child.last_lines[-1:]) or "nothing"
    number = -code if code < 0 else code - SIGNALLED if code > SIGNALLED else 0
    if number:
        return _killed(name, number, result)
    if code in NOT_RUN:
        return RefusedError(f"{name}: can't be run: {last}")
    if code:
        return CrashError(
            f"{name}: ended with exit code {code} and no reason; its last line: {last}"
        )
    if result.completed:
        return None
    stops = result.stops
    if stops:
        return StoppedError(f"{name}: was stopped by somebody else ({printable(stops[-1])})")
    return CrashError(f"{name}: ended before its work was done; its last line: {last}")


def _class_of(fatal: Fatal) -> type[RunError]:
    if fatal.message.startswith("***"):  # glog's words for a signal
        return CrashError
    return ResourceError if _ROOM.search(fatal.message) else RefusedError


def _told(engine: Engine, fatal: Fatal) -> str:
    """A fatal error in one line; ours say in their message all that there is to say."""
    if engine.kind == TORCH:
        return printable(fatal.message, 600)
    place = f" ({fatal.place})" if fatal.place else ""
    return printable(f"{fatal.cause}{place}; {fatal.remedy}", 600)


def _stopped(child: Child, result: LogResult) -> StoppedError:
    name = signal.Signals(child.asked or signal.SIGINT).name
    at = result.segments[-1].last_iteration if result.segments else None
    where = "" if at is None or result.command != "train" else f" near iteration {at}"
    kept = f"; its last snapshot is {printable(result.snapshots[-1])}" if result.snapshots else ""
    options = "killed" if child.killed else "stopped"
    error = StoppedError(f"{options} by {name}{where}{kept}")
    error.exit_code = SIGNALLED + (child.asked or signal.SIGINT)
    return error


def _killed(name: str, number: int, result: LogResult) -> RunError:
    try:
        shown = signal.Signals(number).name
    except ValueError:
        shown = f"signal {number}"
    if number == signal.SIGKILL:
        return CrashError(
            f"{name}: was killed ({shown}), as the system does when memory runs out; use a smaller"
            " batch_size"
        )
    if number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        return StoppedError(f"{name}: was stopped by somebody else ({shown})")
    return CrashError(
        f"{name}: crashed ({shown}), as Caffe does on labels that are not 0 to classes - 1"
    )
