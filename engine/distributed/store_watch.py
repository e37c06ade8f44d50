"""Watches ranks that another launcher started, such as torchrun: reports go through torch's store.

Rank 0 judges them, as sqgen's launcher does where there is one; the others notice when rank 0,
which may hold the store, does not answer. The process that finds a hang ends, and its launcher the
rest.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from ...errors import StallError
from .. import glog
from . import environment
from .environment import Placement
from .judge import Judge
from .watch import ACTIVITY, SECONDS, Report

ENDED = b"ended"
_PATIENCE = 5.0  # seconds in which a rank ends by itself that lost rank 0


@contextmanager
def watched_by_store(placement: Placement | None, timeout: float) -> Iterator[None]:
    """Watch all ranks inside the block, unless sqgen's launcher does.

    Args:
        placement: of this process; None for one alone.
        timeout: seconds without progress that are a hang; 0 for never.
    """
    if placement is None or placement.is_ours or placement.world_size == 1 or not timeout:
        yield
        return
    watch = _StoreWatch(placement, timeout)
    watch.start()
    try:
        yield
    finally:
        watch.end()


class _StoreWatch(threading.Thread):
    def __init__(self, placement: Placement, timeout: float) -> None:
        super().__init__(name="watch", daemon=True)
        self._rank, self._timeout = placement.rank, timeout
        size = placement.world_size
        names = {rank: f"rank {rank}" for rank in range(size)}
        self._judge = Judge(names, timeout, time.monotonic(), start=0)  # all have met
        self._others = dict.fromkeys(range(size), b"")  # -> what it said last
        self._is_over = threading.Event()
        # A connection of its own: a wait in the main thread would block it.
        self._store: Any = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ[environment.MASTER_ADDR],
            int(os.environ[environment.MASTER_PORT]),
            is_master=False,
            timeout=timedelta(seconds=timeout),
            wait_for_workers=False,
        )

    def run(self) -> None:
        turn = 0
        try:
            while not self._is_over.wait(SECONDS):
                turn += 1
                self._say(json.dumps([turn, *ACTIVITY.report()]).encode())
                if self._rank == 0:
                    self._look()
        except (RuntimeError, ValueError):
            if not self._is_over.wait(_PATIENCE) and self._rank:
                self._give_up(f"rank 0 does not answer rank {self._rank}: it hangs or is lost", [])

    def _say(self, text: bytes) -> None:
        self._store.set(f"sqgen/report/{self._rank}", text)

    def _look(self) -> None:
        """Judge what all ranks said."""
        for rank, before in self._others.items():
            key = f"sqgen/report/{rank}"
            text = self._store.get(key) if self._store.check([key]) else b""
            if text in (before, b""):
                continue
            self._others[rank] = text
            if text == ENDED:
                self._judge.end(rank, None, time.monotonic())
            else:
                self._judge.hear(rank, Report(*json.loads(text)[1:]), time.monotonic())
        now = time.monotonic()
        fault = self._judge.verdict(now)
        if fault is not None:
            self._give_up(str(fault), self._judge.describe_ranks(now))

    @staticmethod
    def _give_up(text: str, lines: list[str]) -> None:
        for line in lines:
            glog.warning(line)
        glog.fatal(text)
        os._exit(StallError.exit_code)

    def end(self) -> None:
        """Say that this rank has ended well or with an error of its own."""
        self._is_over.set()
        self.join(_PATIENCE)
        with suppress(RuntimeError, ValueError):
            self._say(ENDED)
