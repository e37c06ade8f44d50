"""Caffe's schema: equal to the recorded facts, loadable beside another library's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from sqgen.formats import schema
from sqgen.formats.compile_schema import STUB, compile_schema, write_stub
from sqgen.formats.schema import DESCRIPTOR, NetParameter

from .conftest import DATA

FACTS = json.loads((DATA / "caffe_schema.json").read_text())
# Of Ristretto (pmgysel/caffe 614963c, src/caffe/proto/caffe.proto), as in the facts of Caffe.
RISTRETTO = "QuantizationParameter"
FACTS["messages"]["LayerParameter"].append(
    {"name": "quantization_param", "number": 149, "label": "optional", "type": RISTRETTO}
)
FACTS["messages"][RISTRETTO] = [
    {"name": name, "number": number, "label": "optional", "type": kind, "default": value}
    for number, (name, kind, value) in enumerate(
        [
            ("precision", f"{RISTRETTO}.Precision", "DYNAMIC_FIXED_POINT"),
            ("rounding_scheme", f"{RISTRETTO}.Rounding", "NEAREST"),
            *((f"bw_{what}", "uint32", 32) for what in ("layer_in", "layer_out", "params")),
            *((f"fl_{what}", "int32", 16) for what in ("layer_in", "layer_out", "params")),
            ("mant_bits", "uint32", 23),
            ("exp_bits", "uint32", 8),
            ("exp_min", "int32", -8),
            ("exp_max", "int32", -1),
        ],
        1,
    )
]
FACTS["enums"] |= {
    f"{RISTRETTO}.Precision": {
        "DYNAMIC_FIXED_POINT": 0,
        "MINIFLOAT": 1,
        "INTEGER_POWER_OF_2_WEIGHTS": 2,
    },
    f"{RISTRETTO}.Rounding": {"NEAREST": 0, "STOCHASTIC": 1},
}
FILE = descriptor_pb2.FileDescriptorProto.FromString(DESCRIPTOR.read_bytes())


def enums() -> dict[str, dict[str, int]]:
    found = {enum.name: enum for enum in FILE.enum_type}
    for message in FILE.message_type:
        found |= {f"{message.name}.{enum.name}": enum for enum in message.enum_type}
    return {name: {v.name: v.number for v in enum.value} for name, enum in found.items()}


def default(field: FieldDescriptorProto) -> Any:
    if field.type == FieldDescriptorProto.TYPE_FLOAT:
        return float(np.float32(field.default_value))
    if field.type == FieldDescriptorProto.TYPE_DOUBLE:
        return float(field.default_value)
    if field.type == FieldDescriptorProto.TYPE_BOOL:
        return field.default_value == "true"
    if field.type in (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_ENUM):
        return field.default_value
    return int(field.default_value)


def described(field: FieldDescriptorProto) -> dict[str, Any]:
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    fact = {
        "name": field.name,
        "number": field.number,
        "label": FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower(),
        "type": field.type_name.removeprefix(".caffe.") or kind,
    }
    if field.options.packed:
        fact["packed"] = True
    if field.HasField("default_value"):
        fact["default"] = default(field)
    return fact


def is_zero(value: Any) -> bool:
    return value is False or (value == 0 and not isinstance(value, str))


def test_every_message_and_field_is_as_caffe_has_it() -> None:
    ours = {message.name: message for message in FILE.message_type}
    assert sorted(ours) == sorted(FACTS["messages"])
    assert len(ours) == 63 + 1
    for name, facts in FACTS["messages"].items():
        fields = {field.name: described(field) for field in ours[name].field}
        assert sorted(fields) == sorted(fact["name"] for fact in facts), name
        for fact in facts:
            field = fields[fact["name"]]
            # A default that is the type's zero may be written or not: both mean the same.
            values = [one.pop("default", None) for one in (field, fact)]
            assert field == fact, (name, fact)
            same = values[0] == values[1] or all(v is None or is_zero(v) for v in values)
            assert same, (name, fact, values)


def test_every_enum_is_as_caffe_has_it() -> None:
    assert enums() == FACTS["enums"]


def test_descriptor_is_compiled_from_the_proto_file() -> None:
    committed = descriptor_pb2.FileDescriptorProto.FromString(DESCRIPTOR.read_bytes())
    compiled = descriptor_pb2.FileDescriptorProto.FromString(compile_schema())
    assert committed == compiled, "run `make schema`"


def test_stub_is_written_from_the_descriptor() -> None:
    assert write_stub(DESCRIPTOR.read_bytes()) == STUB.read_text(), "run `make schema`"


def test_each_message_is_a_name_of_the_module() -> None:
    for message in FILE.message_type:
        made = getattr(schema, message.name)
        assert made is schema.message_class(message.name)
        assert made.DESCRIPTOR.full_name == f"caffe.{message.name}"
    with pytest.raises(ImportError, match="cannot import name 'NetParam'"):
        from sqgen.formats.schema import NetParam  # type: ignore[attr-defined]  # noqa: F401


def test_messages_keep_unknown_fields_and_defaults() -> None:
    net = NetParameter()
    net.layer.add(name="conv1", type="Convolution").convolution_param.num_output = 3
    read = NetParameter.FromString(net.SerializeToString())
    assert read.layer[0].convolution_param.num_output == 3
    assert read.layer[0].convolution_param.group == 1


CONFLICT = """
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe")
message = file.message_type.add(name="NetParameter")
message.field.add(name="other", number=1, type=3, label=1)
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
from sqgen.nets.definition import parse_net
from sqgen.generator.build import build
net = parse_net(build())
assert net.param.layer[2].name == "conv1", net.param
theirs = descriptor_pool.Default().FindMessageTypeByName("caffe.NetParameter")
assert [field.name for field in theirs.fields] == ["other"]
"""


@pytest.mark.process
def test_another_caffe_proto_in_the_process_is_no_conflict() -> None:
    """Guards against BVLC/caffe#6970: two libraries, two schemas, one process."""
    subprocess.run([sys.executable, "-c", CONFLICT], check=True)
