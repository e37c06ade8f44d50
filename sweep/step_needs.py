"""What the steps of a run need: a net, weights and data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import DesignError
from .points import Point
from .steps import (
    BUILD,
    DATA,
    OF_OWN_NET,
    PRUNE,
    QUANTIZE,
    STEPS,
    TAKES_WEIGHTS,
    TRAIN,
    TRAIN_DATA,
    VAL_DATA,
)
from .study_file import Step, Study, Value

RISTRETTO = "ristretto"  # a format of [quantize], which leaves no bits to the steps after it
_SOURCES = {TRAIN_DATA: "train-source", VAL_DATA: "val-source"}  # options of `sqgen build`


def steps_of(study: Study, point: Point) -> Iterator[tuple[Step, Mapping[str, Value]]]:
    """Yield the steps that a point runs, with their options."""
    for step in study.steps:
        if step.name in point.steps:
            yield step, point.options[step.name]


def check_needs(study: Study, point: Point) -> dict[str, frozenset[str]]:
    """Check that each step has what its command needs: from its options, the data or steps before.

    Returns:
        Name of a step -> what the data and the steps before it give.

    Raises:
        DesignError: one lacks something.
    """
    finds = {}
    there, of_net = _study_data(study, point), set[str]()
    for step, options in steps_of(study, point):
        kind, finds[step.name] = STEPS[step.command], frozenset(there)
        if step.command in TAKES_WEIGHTS and TRAIN not in there:
            raise DesignError(f"[{step.name}]: put {TRAIN} before it")
        if RISTRETTO in there and kind.takes_bits and "quantize" not in options:
            raise DesignError(f"[{step.name}]: no step takes a net of Ristretto; leave it out")
        if step.command == "build":
            of_net = {data for data, flag in _SOURCES.items() if {flag, "design"} & options.keys()}
        # A net may name its data, which commands that test read unless they are given others.
        named = set(_SOURCES) if OF_OWN_NET & options.keys() else of_net
        for need, giver in kind.needs.items():
            if need in options or giver in there or (kind.tests and giver in named):
                continue
            how = giver if giver in _SOURCES else f"put {giver} before it"
            raise DesignError(f"[{step.name}]: give {need}, or {how}")
        there = _after(step.command, options, there)
    return finds


def _after(command: str, options: Mapping[str, Value], there: set[str]) -> set[str]:
    """Return what there is after a step."""
    if command == "build":
        return {BUILD, *there} - {TRAIN, PRUNE, QUANTIZE, RISTRETTO}
    left = set(there)
    if STEPS[command].trains or command in TAKES_WEIGHTS:
        left.add(TRAIN)
    if command == "prune":
        left.add(PRUNE)
    if command == "quantize":
        left.add(RISTRETTO if options.get("format") == RISTRETTO else QUANTIZE)
    return left


def _study_data(study: Study, point: Point) -> set[str]:
    """Return which data the study gives all steps."""
    if study.data is None:
        return set()
    if study.data.command:
        return {TRAIN_DATA, VAL_DATA}
    parts = {"train": TRAIN_DATA, "val": VAL_DATA}
    return {parts[name] for name in point.options[DATA]}
