"""`make schema`: compile `caffe.proto` into `caffe.desc` and `schema.pyi` (needs grpcio-tools).

The descriptor, not generated Python, is committed: one file loads on every protobuf from 4.25. The
stub gives type checkers the classes that `schema.py` makes of it at run time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from .files import write_files
from .schema import DESCRIPTOR, PROTO

STUB = Path(__file__).with_name("schema.pyi")

_HEADER = '''\
"""Types of `schema.py`, written by `make schema` from `caffe.proto`; edit that, not this."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as _Messages
from google.protobuf.internal.containers import RepeatedScalarFieldContainer as _Scalars
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper as _Enum
from google.protobuf.message import Message

PROTO: Path
DESCRIPTOR: Path
PHASES: dict[str, int]

def message_class(name: str) -> Any: ...
'''

_FLOATS = (FieldDescriptorProto.TYPE_FLOAT, FieldDescriptorProto.TYPE_DOUBLE)
_SCALARS = {
    **dict.fromkeys(_FLOATS, "float"),
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
}


def compile_schema() -> bytes:
    """Return the serialized FileDescriptorProto of `caffe.proto`."""
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        arguments = ["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={out}", PROTO.name]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"{PROTO} does not compile")
        files = FileDescriptorSet.FromString(out.read_bytes()).file
    return bytes(files[0].SerializeToString(deterministic=True))


def write_stub(descriptor: bytes) -> str:
    """Return `schema.pyi` for a serialized FileDescriptorProto."""
    file = FileDescriptorProto.FromString(descriptor)
    lines = ["", *_enum_lines(file.enum_type)]
    for message in file.message_type:
        lines += ["", f"class {message.name}(Message):"]
        lines += [f"    {line}" for line in _class_lines(message)]
    return _HEADER + "\n".join(lines) + "\n"


def _enum_lines(enums: Iterable[EnumDescriptorProto]) -> Iterator[str]:
    """Yield each enum, and its values as protobuf puts them: beside it, not inside."""
    for enum in enums:
        yield f"{enum.name}: Final[_Enum]"
        yield from (f"{value.name}: Final = {value.number}" for value in enum.value)


def _class_lines(message: DescriptorProto) -> Iterator[str]:
    """Yield enums, fields, constructor, and the methods that take the name of a field."""
    yield from _enum_lines(message.enum_type)
    yield from (f"{field.name}: {_attribute_type(field)}" for field in message.field)
    yield "def __init__("
    yield "    self,"
    yield "    *,"
    yield from (
        f"    {field.name}: {_argument_type(field)} | None = ...," for field in message.field
    )
    yield ") -> None: ..."
    optional = [field.name for field in message.field if not _is_repeated(field)]
    yield from _field_name_method("HasField", optional, "bool")
    yield from _field_name_method("ClearField", [field.name for field in message.field], "None")


def _field_name_method(name: str, fields: list[str], result: str) -> Iterator[str]:
    """Yield a method that takes the name of a field; none where no field qualifies."""
    if fields:
        literals = ", ".join(f'"{field}"' for field in fields)
        yield f"def {name}(self, field_name: Literal[{literals}]) -> {result}: ..."


def _is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED


def _element_type(field: FieldDescriptorProto) -> str:
    if field.type == FieldDescriptorProto.TYPE_MESSAGE:
        return field.type_name.rpartition(".")[2]
    return _SCALARS.get(field.type, "int")  # an enum field holds its number


def _attribute_type(field: FieldDescriptorProto) -> str:
    """A message or a list is changed in place: protobuf refuses an assignment."""
    is_message = field.type == FieldDescriptorProto.TYPE_MESSAGE
    element = _element_type(field)
    if _is_repeated(field):
        return f"Final[{'_Messages' if is_message else '_Scalars'}[{element}]]"
    return f"Final[{element}]" if is_message else element


def _argument_type(field: FieldDescriptorProto) -> str:
    """A constructor also takes an enum value by its name, and the fields of a message."""
    element = _element_type(field)
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        element = "int | str"
    elif field.type == FieldDescriptorProto.TYPE_MESSAGE:
        element += " | Mapping[str, Any]"
    return f"Iterable[{element}]" if _is_repeated(field) else element


def main() -> None:
    """Write both files."""
    descriptor = compile_schema()
    files = {DESCRIPTOR: descriptor, STUB: write_stub(descriptor).encode()}
    write_files(files, force=True)


if __name__ == "__main__":
    main()
