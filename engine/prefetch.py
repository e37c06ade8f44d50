"""Run jobs ahead on threads and return their results in order.

A job is a result and the tasks that fill it, such as a batch and the decoding of its images. A
reader thread runs through the jobs; workers run the tasks, or without workers the reader does. A
result is returned once its tasks are complete, in the order of the jobs; an error takes the place
of the job that raised it.

The threads are daemons, stopped before the interpreter exits: one that returned from OpenCV or
NumPy into a finalized interpreter would crash the process.
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
Jobs = Generator[tuple[T, list[Task]], None, None]

JOIN_TIMEOUT = 30.0  # seconds that close() waits for a thread; a task takes one to a few images

_running: weakref.WeakSet[Prefetch[object]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for prefetch in list(_running):
        prefetch.close()


class _Job(Generic[T]):
    """A result with its unfinished tasks.

    Attributes:
        result: the result; None for an error of the reader, or the end of the jobs.
        unfinished: tasks that are not complete.
        error: that of the first task that failed, by number.
    """

    def __init__(
        self, result: T | None, unfinished: int, error: BaseException | None = None
    ) -> None:
        self.result = result
        self.unfinished = unfinished
        self.error = error
        self._failed_task = unfinished

    def finish_task(self, number: int, error: BaseException | None) -> None:
        self.unfinished -= 1
        if error is not None and number < self._failed_task:
            self.error, self._failed_task = error, number


class Prefetch(Generic[T]):
    """Runs at most `depth` jobs ahead of `next()`."""

    def __init__(self, jobs: Jobs[T], depth: int, workers: int = 0) -> None:
        """Start the threads.

        Args:
            jobs: results with the tasks that fill them; the reader thread iterates over it.
            depth: jobs complete or running whose results were not returned, at least 1.
            workers: threads for the tasks; 0 leaves them to the reader.
        """
        self._source = jobs
        self._depth = max(1, depth)
        self._changed = threading.Condition()
        self._jobs: deque[_Job[T]] = deque()
        self._tasks: deque[tuple[_Job[T], int, Task]] = deque()
        self._stopping = False
        self._inline = workers == 0
        targets = [self._run_reader] + [self._run_worker] * workers
        self._threads = [
            threading.Thread(target=target, name="sqgen data", daemon=True) for target in targets
        ]
        _running.add(self)  # type: ignore[arg-type]
        for thread in self._threads:
            thread.start()

    def next(self) -> T:
        """Wait for the next result and return it.

        Raises:
            StopIteration: there are no more.
            Exception: the job's own, at this and every later call.
        """
        with self._changed:
            self._changed.wait_for(self._is_ready)
            if self._stopping:
                raise ValueError("closed")
            job = self._jobs[0]
            if job.error is not None:
                raise job.error
            if job.result is None:
                raise StopIteration
            self._jobs.popleft()
            self._changed.notify_all()
            return job.result

    def close(self) -> None:
        """Stop the threads and wait until they end; calling it again has no effect."""
        with self._changed:
            self._stopping = True
            self._tasks.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(JOIN_TIMEOUT)
        if not self.alive:
            self._source.close()
            self._jobs.clear()
        _running.discard(self)  # type: ignore[arg-type]

    @property
    def alive(self) -> bool:
        """Whether a thread still runs."""
        return any(thread.is_alive() for thread in self._threads)

    def _is_ready(self) -> bool:
        return self._stopping or bool(self._jobs and not self._jobs[0].unfinished)

    def _has_room(self) -> bool:
        return self._stopping or len(self._jobs) < self._depth

    def _run_reader(self) -> None:
        """Start the jobs; append an error or the end as the last one."""
        error: BaseException | None = None
        try:
            while self._wait_for_room():
                job = next(self._source, None)
                if job is None:
                    break
                self._start(*job)
        except BaseException as raised:
            error = raised
        with self._changed:
            self._jobs.append(_Job(None, 0, error))
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
        job = _Job(result, len(tasks))
        with self._changed:
            self._jobs.append(job)
            if not self._stopping:
                self._tasks.extend((job, number, task) for number, task in enumerate(tasks))
            self._changed.notify_all()

    def _run_worker(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._tasks)
                if self._stopping:
                    return
                job, number, task = self._tasks.popleft()
            error: BaseException | None = None
            try:
                task()
            except BaseException as raised:
                error = raised
            with self._changed:
                job.finish_task(number, error)
                if not job.unfinished:
                    self._changed.notify_all()
