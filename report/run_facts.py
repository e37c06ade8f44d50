"""What a run was asked and with what: facts of its record, its log and its solver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..text import bytes_text, escaped, number_text
from .reported_run import ReportedRun

Named = tuple[str, str]  # a fact's name and value
VALUE = 400  # characters of a value


def run_facts(run: ReportedRun) -> list[Named]:
    """Return what ran, in the order of a report; values are one printable line each."""
    facts = [*_result_facts(run), *_record_facts(run.result.run)]
    return [(name, _short(value)) for name, value in facts if value]


def solver_facts(run: ReportedRun) -> list[Named]:
    """Return the solver's fields as Caffe printed them."""
    return [(name, _short(_plain(value))) for name, value in run.result.solver.items()]


def _short(text: str) -> str:
    shown = escaped(text)
    return shown if len(shown) <= VALUE else f"{shown[: VALUE - 3]}..."


def _result_facts(run: ReportedRun) -> Iterator[Named]:
    result = run.result
    yield "source", "standard input" if run.source == "-" else run.source
    yield "command", f"caffe {result.command}"
    yield "net", result.net
    yield "net's layers (digest)", result.net_digest or ""
    yield "dataset (digest)", result.dataset or ""
    yield "device", result.device
    yield "started", result.start or ""
    yield "ended", result.end or ""
    if run.speed is not None:
        yield "speed", f"{number_text(run.speed)} iterations/s, tests included"
    yield "finetuned from", ", ".join(result.finetuned_from)
    resumes = [segment.resumed_from for segment in result.segments if segment.resumed_from]
    yield "resumed from", ", ".join(resumes[-3:])
    yield "snapshots", _counted(result.snapshots)
    yield "signals", _counted(result.signals)
    yield "layers without weights", _counted(result.ignored_layers)


def _counted(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    return texts[-1] if len(texts) == 1 else f"{len(texts):,}, the last {texts[-1]}"


def _record_facts(record: Mapping[str, Any]) -> Iterator[Named]:
    """Yield facts of the runner's record, which a stranger may have written."""
    engine, machine = _mapping(record, "engine"), _mapping(record, "machine")
    yield "engine", " ".join(_texts(engine, "name", "version"))
    yield "engine chosen", _plain(engine.get("why"))
    yield "weights", _plain(record.get("weights"))
    yield "started from", _plain(record.get("started_from"))
    if isinstance(record.get("seconds"), int | float):
        yield "duration", f"{record['seconds']:,.1f} s"
    for name, key in (
        ("images an update", "images_an_update"),
        ("trained parameters", "trained_parameters"),
    ):
        if isinstance(record.get(key), int):
            yield name, f"{record[key]:,}"
    yield "frozen layers", _plain(record.get("frozen"))
    yield "best weights", _plain(record.get("best"))
    for data in _mappings(record.get("data")):
        yield "data", _data_text(data)
    for test in _mappings(record.get("tests")):
        for data in _mappings(test.get("data")):
            yield "test data", _data_text(data)
    changes = record.get("changes")
    yield "changes to the copies", "; ".join(map(str, changes)) if isinstance(changes, list) else ""
    yield (
        "processor",
        f"{_plain(machine.get('processor'))} ({_plain(machine.get('cores'))} cores)"
        if machine
        else "",
    )
    if isinstance(machine.get("memory_bytes"), int):
        yield "memory", bytes_text(machine["memory_bytes"])
    yield "GPUs", _plain(machine.get("gpus"))
    yield "system", _plain(machine.get("system"))
    versions = _mapping(record, "versions")
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())


def _data_text(data: Mapping[str, Any]) -> str:
    records = data.get("records")
    count = f"{records:,} records" if isinstance(records, int) else ""
    parts = [_plain(data.get("source")), count, _plain(data.get("digest"))]
    transform = data.get("transform")
    if isinstance(transform, dict):
        parts.append(", ".join(f"{key} {_plain(value)}" for key, value in transform.items()))
    return "; ".join(filter(None, parts))


def _mapping(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(mapping: Mapping[str, Any], *keys: str) -> list[str]:
    return [text for key in keys if (text := _plain(mapping.get(key)))]


def _plain(value: object) -> str:
    """Return a value of JSON as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)
