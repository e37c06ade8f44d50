"""The record of a run: everything that its log does not say, as `result.run` (docs/running.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..formats.files import BINARY_LIMIT, read_bytes
from ..nets.dataset import Dataset
from .bits_options import BitsOptions
from .engines import Engine
from .exact_epoch import EpochPlan
from .preflight import CheckedNet

if TYPE_CHECKING:
    from ..formats.schema import LayerParameter


@dataclass(frozen=True)
class DataRecord:
    """A data layer of a run: its dataset and its preprocessing."""

    dataset: Dataset
    transform: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "source": self.dataset.source,
            "records": self.dataset.records,
            "digest": self.dataset.digest,
            "transform": self.transform,
        }


@dataclass(frozen=True)
class KeptPredictions:
    """The predictions that a test keeps.

    Attributes:
        file: as given; empty for one in the run folder, which is not there yet.
        blob: the scores that the user names, or None.
    """

    file: str
    blob: str | None

    def placed(self, default: str) -> KeptPredictions:
        """Return them with the file `default` where none is given."""
        return self if self.file else replace(self, file=default)

    @property
    def flags(self) -> list[str]:
        """The engine's flags."""
        blob = [] if self.blob is None else [f"--blob={self.blob}"]
        return [f"--predictions={self.file}", *blob]

    def as_dict(self) -> dict[str, str]:
        """Return the file and its SHA-256, plain data for JSON."""
        data = read_bytes(self.file, BINARY_LIMIT, "a file of predictions")
        return {"file": self.file, "digest": sha256(data).hexdigest()}


@dataclass(frozen=True)
class TestRecord:
    """What a test read, `weights` as given, and the predictions that it has written."""

    weights: str
    plan: EpochPlan
    data: tuple[DataRecord, ...]
    quantized: BitsOptions
    predictions: KeptPredictions | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        coverage = {
            "records": self.plan.records,
            "batch": self.plan.batch_size,
            "iterations": self.plan.iterations,
            "again": self.plan.repeated,
            "exact": self.plan.engine_stops,
            "whole": self.plan.is_exact,
        }
        data = [layer.as_dict() for layer in self.data]
        kept = None if self.predictions is None else self.predictions.as_dict()
        return {
            "weights": self.weights,
            "coverage": coverage,
            "data": data,
            "quantized": self.quantized.as_dict() if self.quantized else None,
            "predictions": kept,
        }


@dataclass(frozen=True)
class TestNetRecord:
    """A test net of a training.

    Attributes:
        test_iter: batches of each test.
        batch_size: images in a batch; None if the net reads several datasets, or none.
        digest: of its dataset; None likewise.
        data: its data layers.
    """

    test_iter: int
    batch_size: int | None
    digest: str | None
    data: tuple[DataRecord, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "test_iter": self.test_iter,
            "batch": self.batch_size,
            "digest": self.digest,
            "data": [layer.as_dict() for layer in self.data],
        }


@dataclass(frozen=True)
class TrainRecord:
    """What a training started from and read.

    Attributes:
        started_from: the caffemodel or solver state, or None.
        images_per_update: batch size x iter_size x GPUs.
        max_iter: updates in all.
        trained_parameters: how many parameters it changes.
        frozen: names of the layers that were frozen.
        constraints: the file of those that it obeyed, or None.
        quantized: what was quantized, as given.
        data: the data layers of the trained net.
        tests: the test nets.
        best: returns plain data of the best weights by a test's score, which a run may change.
        phases: of a training that has several.
    """

    started_from: str | None
    images_per_update: int
    max_iter: int
    trained_parameters: int
    frozen: tuple[str, ...]
    constraints: str | None
    quantized: BitsOptions
    data: tuple[DataRecord, ...]
    tests: tuple[TestNetRecord, ...]
    best: Callable[[], dict[str, Any] | None] = lambda: None
    phases: tuple[dict[str, Any], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "started_from": self.started_from,
            "images_an_update": self.images_per_update,
            "max_iter": self.max_iter,
            "trained_parameters": self.trained_parameters,
            "frozen": list(self.frozen),
            "constraints": self.constraints,
            "quantized": self.quantized.as_dict() if self.quantized else None,
            "data": [layer.as_dict() for layer in self.data],
            "tests": [test.as_dict() for test in self.tests],
            "best": self.best(),
            "phases": list(self.phases),
        }


@dataclass(frozen=True)
class RunRecord:
    """A finished run.

    Attributes:
        folder, working_folder: paths.
        typed: the words of the command that asked for it; none from Python.
        commands: the words of each command that ran.
        engine: the engine that ran.
        versions: by package name.
        machine: processor, cores, memory, system, GPUs.
        changes: to the copies of nets and solver, in words.
        seconds: from start to end.
        error: the message of a run that failed, or None.
        subject: what was tested or trained; None for timing.
    """

    folder: str
    working_folder: str
    typed: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]
    engine: Engine
    versions: dict[str, str]
    machine: dict[str, Any]
    changes: tuple[str, ...]
    seconds: float
    error: str | None
    subject: TestRecord | TrainRecord | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "folder": self.folder,
            "working_folder": self.working_folder,
            "typed": list(self.typed),
            "commands": [list(command) for command in self.commands],
            "engine": {
                "kind": self.engine.kind,
                "name": self.engine.name,
                "why": self.engine.why,
                "version": self.engine.version,
            },
            "versions": self.versions,
            "machine": self.machine,
            "changes": list(self.changes),
            "seconds": self.seconds,
            "error": self.error,
            **(self.subject.as_dict() if self.subject is not None else {}),
        }


def record_data(net: CheckedNet) -> tuple[DataRecord, ...]:
    """Return the records of a net's data layers."""
    return tuple(
        DataRecord(dataset, _transform_fields(layer))
        for layer, dataset in zip(net.layers, net.datasets, strict=True)
    )


def _transform_fields(layer: LayerParameter) -> dict[str, Any]:
    """Return the fields of a layer's transform_param that are set."""
    return {
        field.name: list(value) if hasattr(value, "append") else value
        for field, value in layer.transform_param.ListFields()
    }
