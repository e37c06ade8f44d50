"""The outcome of a run: none, or the error that names cause, remedy and log."""

from __future__ import annotations

import re
import signal

from ..errors import (
    CrashError,
    PeerLostError,
    RefusedError,
    ResourceError,
    RunError,
    StallError,
    StoppedError,
)
from ..logs.fatal import explain_crash
from ..logs.result import Fatal, LogResult
from ..text import printable
from .engines import TORCH, Engine
from .subprocess_guard import CANNOT_EXECUTE, SIGNAL_EXIT_BASE, GuardedProcess

# Fatal messages that mean out of memory, disk space or GPU failure.
_RESOURCE = re.compile(
    r"out of memory|bad_alloc|no room|No space|SerializeToOstream|Cannot use GPU|cuda|CUDNN|CUBLAS"
    r"|Multi-GPU|several GPUs",
    re.IGNORECASE,
)
# Of the embedded engine, whose exit codes mean what sqgen's own do.
_BY_EXIT_CODE: dict[int, type[RunError]] = {
    **{error.exit_code: error for error in (ResourceError, CrashError, StallError)},
    PeerLostError.exit_code: CrashError,  # where another launcher started the ranks
}


def outcome_error(
    engine: Engine, process: GuardedProcess, result: LogResult, log: str, may_stop: bool = False
) -> RunError | None:
    """Return the error that ended a run, or None if it completed.

    Args:
        engine: the engine that ran.
        process: its process, which has exited.
        result: the parsed log.
        log: path of the log, for the message.
        may_stop: whether sqgen asked it to stop early.
    """
    error = _find_error(engine, process, result, may_stop)
    if error is None:
        return None
    with_log = type(error)(f"{error}; its log: {printable(log)}")
    with_log.exit_code, with_log.result = error.exit_code, result
    return with_log


def _find_error(
    engine: Engine, process: GuardedProcess, result: LogResult, may_stop: bool
) -> RunError | None:
    name, code = printable(engine.name), process.exit_code or 0
    if may_stop and process.stop_signal is None and result.fatal is None:
        # The request may reach it when its work is done: then the signal ends the process.
        is_interrupted = code in (-signal.SIGINT, SIGNAL_EXIT_BASE + signal.SIGINT)
        code = 0 if result.completed and is_interrupted else code
    if process.stop_signal is not None and not (result.completed and not code):
        return _stop_error(process, process.stop_signal, result)
    if result.fatal is not None:
        return _fatal_class(engine, result.fatal, code)(
            f"{name}: {_describe_fatal(engine, result.fatal)}"
        )
    last = "; ".join(process.last_lines[-1:]) or "nothing"
    number = -code if code < 0 else code - SIGNAL_EXIT_BASE if code > SIGNAL_EXIT_BASE else 0
    if number:
        return _signal_error(name, number)
    if code in CANNOT_EXECUTE:
        return RefusedError(f"{name}: can't be run: {last}")
    if code:
        return CrashError(
            f"{name}: ended with exit code {code} and no reason; its last line: {last}"
        )
    if result.completed or (may_stop and result.stops):
        return None
    stops = result.stops
    if stops:
        return StoppedError(f"{name}: stopped from outside sqgen ({printable(stops[-1])})")
    return CrashError(f"{name}: ended before its work was done; its last line: {last}")


def _fatal_class(engine: Engine, fatal: Fatal, code: int) -> type[RunError]:
    if engine.kind == TORCH and code in _BY_EXIT_CODE:
        return _BY_EXIT_CODE[code]
    if fatal.message.startswith("***"):  # glog's report of a signal
        return CrashError
    return ResourceError if _RESOURCE.search(fatal.message) else RefusedError


def _describe_fatal(engine: Engine, fatal: Fatal) -> str:
    """Format a fatal error in one line; the embedded engine's messages are already complete."""
    if engine.kind == TORCH:
        return printable(fatal.message, 600)
    place = f" ({fatal.place})" if fatal.place else ""
    return printable(f"{fatal.cause}{place}; {fatal.remedy}", 600)


def _stop_error(process: GuardedProcess, number: int, result: LogResult) -> StoppedError:
    name = signal.Signals(number).name
    at = result.segments[-1].last_iteration if result.segments else None
    where = "" if at is None or result.command != "train" else f" near iteration {at}"
    last = f"; its last snapshot is {printable(result.snapshots[-1])}" if result.snapshots else ""
    error = StoppedError(f"{'killed' if process.killed else 'stopped'} by {name}{where}{last}")
    error.exit_code = SIGNAL_EXIT_BASE + number
    return error


def _signal_error(name: str, number: int) -> RunError:
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
        return StoppedError(f"{name}: stopped from outside sqgen ({shown})")
    crash = explain_crash(shown)
    return CrashError(f"{name}: {shown}: {crash.cause}; {crash.remedy}")
