"""Which fault is the cause, and what is a hang: a test gives the judge the time."""

from __future__ import annotations

from sqgen.engine.distributed.judge import (
    CRASH,
    REFUSAL,
    STALL,
    START_SECONDS,
    SYMPTOM,
    Fault,
    Judge,
    fault_of_exit,
)
from sqgen.engine.distributed.watch import START, Report

RANKS = {rank: f"rank {rank}" for rank in range(3)}
LOST = Fault(SYMPTOM, 0, "lost the other ranks", 5)
KILLED = fault_of_exit(1, "rank 1", -9, None, "")


def judge(timeout: float = 10) -> Judge:
    """A judge of three ranks at time 0."""
    return Judge(RANKS, timeout, 0)


def test_a_symptom_waits_for_its_cause() -> None:
    one = judge()
    one.end(0, LOST, 1)
    assert one.verdict(2) is None
    assert KILLED is not None
    one.end(1, KILLED, 3)
    assert one.verdict(3) is KILLED


def test_a_symptom_alone_is_told_at_last() -> None:
    one = judge()
    for rank in (1, 2):
        one.hear(rank, Report("exchange", 1, 1), 6)
    one.end(0, LOST, 1)
    assert one.verdict(6.5) is LOST


def test_who_is_silent_is_the_cause_of_a_symptom() -> None:
    """A stopped rank that others lost, long before the timeout of a hang."""
    one = judge(600)
    for rank in RANKS:
        one.hear(rank, Report("exchange", 1, 1), 1)
    one.end(0, LOST, 1)
    one.hear(1, Report("exchange", 1, 1), 6)
    found = one.verdict(7)
    assert found is not None
    assert (found.kind, found.rank) == (STALL, 2)


def test_all_refuse_the_same_or_one_does() -> None:
    for texts, rank in ((("a", "a", "a"), None), (("a", "b", "b"), 0)):
        one = judge()
        for number, text in enumerate(texts):
            one.end(number, Fault(REFUSAL, number, text, 2), 1)
        found = one.verdict(1)
        assert found is not None
        assert (found.rank, found.text) == (rank, "a")


def test_a_hang_is_no_progress_of_anyone() -> None:
    one = judge()
    marks = 1
    for now in range(1, 100):
        for rank in RANKS:
            marks += rank == 2
            one.hear(rank, Report("test" if rank == 2 else "exchange", 5, marks), now)
        assert one.verdict(now) is None  # rank 2 makes progress, while the others wait
    for now in range(100, 112):
        for rank in RANKS:
            one.hear(rank, Report("test" if rank == 2 else "exchange", 5, marks), now)
    found = one.verdict(112)
    assert found is not None
    assert (found.rank, found.text) == (2, "hangs in test of iteration 5, 13 s ago")
    assert judge(0).verdict(1e9) is None


def test_start_up_takes_its_time() -> None:
    one = judge(1)
    for rank in RANKS:
        one.hear(rank, Report(START), START_SECONDS / 2)
    assert one.verdict(START_SECONDS - 1) is None
    found = one.verdict(START_SECONDS + 1)
    assert found is not None
    assert found.text.startswith("hangs in start-up")


def test_exit_codes_of_a_rank() -> None:
    def kind(code: int, fatal: str | None = None) -> tuple[str, int] | None:
        line = None if fatal is None else ("x.py:1", fatal)
        fault = fault_of_exit(0, "rank 0", code, line, "")
        return None if fault is None else (fault.kind, fault.exit_code)

    assert kind(0) is None
    assert kind(2, "no net") == (REFUSAL, 2)
    assert kind(4, "out of memory") == (CRASH, 4)
    assert kind(7, "lost") == (SYMPTOM, 5)
    assert kind(-11) == kind(139) == kind(3) == (CRASH, 5)
    assert kind(-2) == kind(130) == ("interrupt", 130)
    assert kind(-15) == ("interrupt", 143)
