"""Launch a training on several devices: a process for each, and this one as their parent.

`--workers N` or `--gpu 0,1` asks for it, `--nodes` on several machines. Loads nothing heavy: the
parent outlives all that PyTorch does in its children.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

from ...formats.files import STDIN, read_bytes
from ...host import available_cores
from ...text import printable
from .. import glog
from ..flags import CommandLine
from ..signals import STOP, Handler, signal_effects
from . import environment
from .job import Job
from .judge import INTERRUPT, STALL, Fault
from .local_ranks import LocalRanks, RankProcess
from .nodes import POLL_SECONDS, Follower, Leader, Place, Verdict, join_nodes

if TYPE_CHECKING:
    from .restarts import Restarts

MESSAGE_LIMIT = 2000  # characters shown of a fault
PROTOTXT_LIMIT = 1 << 26  # bytes


def launch(job: Job) -> int:
    """Run a training with a process for each device; return the exit code.

    Raises:
        SqgenError: the ranks can't be started, or the other machines are not there.
    """
    signals = _Signals(job.line)
    with ExitStack() as stack:
        stdin = stack.enter_context(_kept_stdin(job.line))
        restarts = _plan_restarts(job, stdin)
        selector = stack.enter_context(selectors.DefaultSelector())
        node = join_nodes(job.nodes, selector)
        stack.callback(node.close)
        while True:
            place = node.begin(restarts.snapshot if restarts is not None else "")
            verdict, code = _run_attempt(job, node, place, selector, signals, stdin)
            fault = verdict.fault
            if verdict.restarts:  # another machine leads
                glog.warning("a rank of another node was lost: starting again with all")
                continue
            if fault is None:
                node.conclude(None)
                return code
            if restarts is not None and signals.stop is None and restarts.allow(fault):
                continue
            node.conclude(fault)
            _log_end(fault, job)
            return fault.exit_code


def _plan_restarts(job: Job, stdin: str) -> Restarts | None:
    """Return what counts restarts; None where there are none, or where node 0 counts them."""
    if not job.max_restarts or job.nodes.number:
        return None
    from .restarts import Restarts  # reads snapshots, and so imports NumPy

    return Restarts(job.max_restarts, job.line.text("solver"), stdin)


def _run_attempt(
    job: Job,
    node: Leader | Follower,
    place: Place,
    selector: selectors.BaseSelector,
    signals: _Signals,
    stdin: str,
) -> tuple[Verdict, int]:
    """Run the ranks of this machine until the end; return it, and the first one's exit code."""
    with LocalRanks(selector) as ranks, signals.passed_to(ranks):
        _start_ranks(job, place, ranks, signals, stdin)
        node.watch(ranks.names)
        while True:
            selector.select(POLL_SECONDS)
            for rank, report in ranks.reports():
                node.hear(rank, report)
            for rank, fault in ranks.new_ends():
                node.end(rank, fault)
            signals.log()
            verdict = signals.verdict or node.verdict()
            if verdict is None:
                continue
            if verdict.fault is not None and verdict.fault.kind == STALL:
                for line in node.describe_ranks():
                    glog.warning(line)
            if verdict.fault is None and not verdict.restarts:
                return verdict, ranks.first_code
            if verdict.fault is not None and verdict.fault.kind == STALL:
                ranks.kill(verdict.fault.rank)  # so that the others lose it, and save
            if verdict.fault is not None and verdict.fault.kind != INTERRUPT:
                ranks.wait(node.stay_in_touch)
            return verdict, 0


def _start_ranks(job: Job, place: Place, ranks: LocalRanks, signals: _Signals, stdin: str) -> None:
    workers = job.nodes.workers
    words = job.rank_words(place.snapshot)
    shared = {
        environment.WORLD_SIZE: str(place.world_size),
        environment.LOCAL_WORLD_SIZE: str(workers),
        environment.MASTER_ADDR: place.host,
        environment.MASTER_PORT: str(place.port),
        environment.SEED: str(place.seed),
    }
    shared |= {k: v for k, v in _defaults(job, place).items() if k not in os.environ}
    try:
        for local in range(workers):
            own = {
                environment.RANK: str(place.first_rank + local),
                environment.LOCAL_RANK: str(local),
            }
            store = place.store.fileno() if place.store is not None and local == 0 else None
            if store is not None:
                own[environment.STORE_FD] = str(store)
            with _opened(stdin) as file:
                ranks.add(RankProcess(words, {**shared, **own}, file, store, local == 0))
    finally:
        if place.store is not None:
            place.store.close()
    signals.repeat()


def _defaults(job: Job, place: Place) -> dict[str, str]:
    """Return variables of the ranks' environment that the user may have set otherwise."""
    # PyTorch's own threads, until the rank sets their number, are as many as all cores.
    found = {"OMP_NUM_THREADS": str(max(1, available_cores() // job.nodes.workers))}
    if place.interface:
        # Gloo takes the address of the machine's name, which the others may not reach. NCCL needs
        # no network on one machine.
        found["GLOO_SOCKET_IFNAME"] = place.interface
        if job.nodes.count > 1:
            found["NCCL_SOCKET_IFNAME"] = place.interface
    return found


def _log_end(fault: Fault, job: Job) -> None:
    if fault.kind == INTERRUPT:
        glog.error(str(fault))
        return
    hint = ""
    if fault.may_restart and job.nodes.number == 0:
        hint = (
            f"; it was started again {job.max_restarts} times before"
            if job.max_restarts
            else "; --max_restarts=N goes on from the newest snapshot by itself"
        )
    glog.fatal(printable(f"{fault}{hint}", MESSAGE_LIMIT), fault.place)


@contextmanager
def _kept_stdin(line: CommandLine) -> Iterator[str]:
    """Keep a solver or net from standard input in a file for each rank; "" without one."""
    if STDIN not in (line.text("solver"), line.text("model")) or sys.stdin is None:
        yield ""
        return
    descriptor, path = tempfile.mkstemp(prefix="sqgen-")
    try:
        with open(descriptor, "wb") as file:
            file.write(read_bytes(STDIN, PROTOTXT_LIMIT))
        yield path
    finally:
        Path(path).unlink()


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes] | None]:
    if not path:
        yield None
        return
    with open(path, "rb") as file:
        yield file


class _Signals:
    """Passes signals on to the ranks; the second one that asks for a stop kills them.

    Attributes:
        stop: the signal that asked for a stop, or None.
        verdict: the end that a second one makes, or None.
    """

    def __init__(self, line: CommandLine) -> None:
        self._effects = signal_effects(line.text("sigint_effect"), line.text("sighup_effect"))
        self._ranks: LocalRanks | None = None
        self._unlogged: list[str] = []
        self.stop: int | None = None
        self.verdict: Verdict | None = None

    @contextmanager
    def passed_to(self, ranks: LocalRanks) -> Iterator[None]:
        """Pass signals on to these ranks inside the block."""
        self._ranks = ranks
        previous: dict[int, Handler] = {}
        if threading.current_thread() is threading.main_thread():
            for number in self._effects:
                previous[number] = signal.signal(number, self._handle)
        try:
            yield
        finally:
            self._ranks = None
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        assert self._ranks is not None
        name = signal.Signals(number).name
        if self._effects[number] != STOP or self.stop is None:
            if self._effects[number] == STOP:
                self.stop = number
            self._unlogged.append(f"{name}: passed on to all ranks")
            self._ranks.send(number)
            return
        self._ranks.kill()
        fault = Fault(INTERRUPT, None, f"killed by a second signal, {name}", 128 + number)
        self.verdict = Verdict(fault)

    def repeat(self) -> None:
        """Pass a stop on to ranks that were not started when it came."""
        if self.stop is not None and self._ranks is not None:
            self._ranks.send(self.stop)

    def log(self) -> None:
        """Log what came: a handler may have interrupted a write to the same stream."""
        while self._unlogged:
            glog.info(self._unlogged.pop(0))
