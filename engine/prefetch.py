"""Work done ahead on threads, handed out in order.

One thread runs through the works; each work is a result and the tasks that fill it. With workers,
the tasks are theirs; without, the thread does them itself. A work goes out when its tasks are done,
works before it first, and an error takes the place of the work it happened in.

The threads are daemons, and are stopped before the interpreter ends: one that came back out of
OpenCV or NumPy into an interpreter that is gone would end the process with a crash.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

T = TypeVar("T")
Task = Callable[[], None]
Works = Generator[tuple[T, list[Task]], None, None]

# Seconds that close() waits for a thread: a task is one to a few images.
PATIENCE = 30.0

_running: weakref.WeakSet[Prefetch[object]] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for one in list(_running):
        one.close()


class _Slot(Generic[T]):
    """A result under way: `left` tasks are not done; `error` is that of its first failed task."""

    def __init__(self, result: T | None, left: int, error: BaseException | None = None) -> None:
        self.result = result
        self.left = left
        self.error = error
        self.failed = left

    def end(self, number: int, error: BaseException | None) -> None:
        self.left -= 1
        if error is not None and number < self.failed:
            self.error, self.failed = error, number


class Prefetch(Generic[T]):
    """Runs at most `depth` works ahead of `next()`."""

    def __init__(self, works: Works[T], depth: int, workers: int = 0) -> None:
        """Start the threads.

        Args:
            works: results with the tasks that fill them; runs in a thread of its own.
            depth: works that are done or under way and not handed out, at least 1.
            workers: threads for the tasks; 0 for none but the one that runs `works`.
        """
        self._works = works
        self._depth = max(1, depth)
        self._changed = threading.Condition()
        self._slots: deque[_Slot[T]] = deque()
        self._tasks: deque[tuple[_Slot[T], int, Task]] = deque()
        self._stopping = False
        self._inline = workers == 0
        targets = [self._read] + [self._work] * workers
        self._threads = [
            threading.Thread(target=target, name="sqgen data", daemon=True) for target in targets
        ]
        _running.add(self)  # type: ignore[arg-type]
        for thread in self._threads:
            thread.start()

    def next(self) -> T:
        """The next result; waits for it.

        Raises:
            StopIteration: there are no more.
            Exception: what its work raised, every time from then on.
        """
        with self._changed:
            self._changed.wait_for(self._is_ready)
            if self._stopping:
                raise ValueError("closed")
            slot = self._slots[0]
            if slot.error is not None:
                raise slot.error
            if slot.result is None:
                raise StopIteration
            self._slots.popleft()
            self._changed.notify_all()
            return slot.result

    def close(self) -> None:
        """Stop the threads and wait until they ended. Twice is no error."""
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE)
        if not any(thread.is_alive() for thread in self._threads):
            self._works.close()
            self._slots.clear()
        _running.discard(self)  # type: ignore[arg-type]

    @property
    def alive(self) -> bool:
        """Whether a thread still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def _is_ready(self) -> bool:
        return self._stopping or bool(self._slots and not self._slots[0].left)

    def _has_room(self) -> bool:
        return self._stopping or len(self._slots) < self._depth

    def _read(self) -> None:
        """The thread that runs the works; the last slot is an error, or the end."""
        error: BaseException | None = None
        try:
            while self._wait_for_room():
                work = next(self._works, None)
                if work is None:
                    break
                self._start(*work)
        except BaseException as raised:
            error = raised
        with self._changed:
            self._slots.append(_Slot(None, 0, error))
            self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(self._has_room)
            return not self._stopping

    def _start(self, result: T, tasks: list[Task]) -> None:
        if self._inline:
            for task in tasks:
                if self._stopping:
                    return
                task()
            tasks = []
        slot = _Slot(result, len(tasks))
        with self._changed:
            self._slots.append(slot)
            if not self._stopping:
                self._tasks.extend((slot, number, task) for number, task in enumerate(tasks))
            self._changed.notify_all()

    def _work(self) -> None:
        """A worker: one task after the other."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._tasks)
                if self._stopping:
                    return
                slot, number, task = self._tasks.popleft()
            error: BaseException | None = None
            try:
                task()
            except BaseException as raised:
                error = raised
            with self._changed:
                slot.end(number, error)
                if not slot.left:
                    self._changed.notify_all()
