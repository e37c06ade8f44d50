"""Many cases in one test: pytest takes 10 ms for a test, and a recorded layer less."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Case = TypeVar("Case")


def by_kind(cases: Iterable[tuple[str, Case]]) -> dict[str, dict[str, Case]]:
    """Group named cases by what follows the first hyphen of their names: `12-Convolution`."""
    groups: dict[str, dict[str, Case]] = {}
    for name, case in cases:
        groups.setdefault(name.partition("-")[2] or name, {})[name] = case
    return groups


def check_each(cases: Mapping[str, Case], check: Callable[[Case], None]) -> None:
    """Check all cases; fail with the names and messages of those that do not pass."""
    failures = []
    for name, case in cases.items():
        try:
            check(case)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    assert not failures, "\n\n".join(failures)
