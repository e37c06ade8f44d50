"""The presets equal the published files in every set field."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format

from sqgen.formats import prototxt
from sqgen.formats.schema import NetParameter, SolverParameter
from sqgen.generator.build import build, build_solver
from sqgen.generator.presets import PRESETS, preset

from .conftest import DATA, published

FILES = {
    "squeezenet_v1.0.train_val": ("v1.0", "trainval"),
    "squeezenet_v1.0.deploy": ("v1.0", "deploy"),
    "squeezenet_v1.0.solver": ("v1.0", "solver"),
    "squeezenet_v1.1.train_val": ("v1.1", "trainval"),
    "squeezenet_v1.1.deploy": ("v1.1", "deploy"),
    "squeezenet_v1.1.solver": ("v1.1", "solver"),
    "residual.train_val": ("residual", "trainval"),
    "dsd.train_val": ("dsd", "trainval"),
    "deep_compression.train_val": ("deep-compression", "trainval"),
    "deep_compression.deploy": ("deep-compression", "deploy"),
    "generator_small_bn0": ("generator-small", "trainval"),
    "generator_small_bn1": ("generator-small-bn", "trainval"),
    "generator_large_bn0": ("generator-large", "trainval"),
    "generator_large_bn1": ("generator-large-bn", "trainval"),
}


def written(name: str, file: str) -> dict[str, Any]:
    solver = file == "solver"
    text = build_solver(preset(name)) if solver else build(preset(name), file)
    message = SolverParameter() if solver else NetParameter()
    assert prototxt.parse(text, message, name).warnings == []
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert isinstance(fields, dict)
    return fields


def test_every_recorded_file_is_compared() -> None:
    assert sorted(FILES) == sorted(path.stem for path in (DATA / "published").glob("*.json"))


@pytest.mark.parametrize("recorded", FILES)
def test_preset_equals_the_published_file(recorded: str) -> None:
    ours, theirs = written(*FILES[recorded]), published(recorded)
    assert list(map(str, ours.pop("layer", []))) == list(map(str, theirs.pop("layer", [])))
    assert ours == theirs


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("file", ["trainval", "train", "val", "deploy", "solver"])
def test_every_preset_has_every_file(name: str, file: str) -> None:
    assert written(name, file)
