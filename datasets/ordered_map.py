"""One function over many items on threads: results in order, few of them at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 8  # results a thread may be ahead of who takes them


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Generator[Result, None, None]:
    """The results of `function` in the order of the items, computed by `jobs` threads.

    OpenCV lets other threads run while it works. Close the iterator if it is not run to its end:
    that waits for the threads. One job is done by the thread that asks.

    Raises:
        Exception: what the function raised for the item whose turn it is.
    """
    if jobs == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(jobs, "sqgen data")
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= jobs * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
