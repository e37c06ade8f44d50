"""Parse and print `.prototxt` files: protocol buffer text.

`text_parser.py` reads them. This module adds file:line:column to every error, a suggestion for a
misspelt name, and what `fork_fields.py` knows of the fields of Caffe's forks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from ..errors import FormatError
from ..text import did_you_mean, printable
from .foreign_weights import IS_ONNX, ONNX_SUFFIX
from .fork_fields import Effect, ForkField, ForkUse, find_fork_field
from .ristretto import is_other_quantization, take_other_quantization
from .schema import LayerParameter
from .text_parser import Field, Scalar, TextError, TextParser, UnknownField, is_repeated

_HEAD = 512  # bytes that show an encoding
SIZE_LIMIT = 16 << 20  # the largest published net (ResNet-152) is a hundredth of this


def decode(data: bytes, source: str) -> str:
    """Decode the bytes of a prototxt.

    Bytes that are not UTF-8 become surrogates: old comments are in any encoding.

    Raises:
        FormatError: the bytes are binary, such as a caffemodel's, or UTF-16.
    """
    encoding = utf_16_name(data)
    if encoding:
        raise FormatError(
            f"{printable(source)}: is {encoding} text, which Caffe can't read; save it as UTF-8"
            f" (iconv -f {encoding} -t UTF-8)"
        )
    if b"\0" in data or data.startswith((b"\x89HDF", b"\x1f\x8b", b"PK\x03\x04")):
        raise not_text(source)
    return data.decode("utf-8", errors="surrogateescape")


def not_text(source: str) -> FormatError:
    """Return the error of a binary file in place of a prototxt."""
    if source.endswith(ONNX_SUFFIX):
        return FormatError(f"{printable(source)}: {IS_ONNX}")
    return FormatError(
        f"{printable(source)}: is binary, not text; give the .prototxt (sqgen upgrade --text FILE"
        " writes that of a .caffemodel)"
    )


def utf_16_name(data: bytes) -> str:
    """Return the name of the encoding of UTF-16 text, with or without a byte order mark, or ''.

    Most characters of a prototxt are ASCII: every other byte is zero, and no byte between these.
    """
    head = data[:_HEAD]
    halves = {"UTF-16LE": (head[0::2], head[1::2]), "UTF-16BE": (head[1::2], head[0::2])}
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    for encoding, (low, high) in halves.items():
        if b"\0" not in low and 2 * high.count(0) > len(high) > 1:
            return encoding
    return ""


class Parsed(NamedTuple):
    """What `parse` read besides the message.

    Attributes:
        fields: those of the text, in order.
        fork_uses: the fields of forks that change anything, which the message lacks.
        warnings: on those of forks that change nothing, and on strings, a line each.
    """

    fields: list[Field]
    fork_uses: list[ForkUse]
    warnings: list[str]


def parse(
    text: str, message: Message, source: str, is_foreign: Callable[[str], bool] = lambda kind: False
) -> Parsed:
    """Fill `message` from text.

    Args:
        text: the prototxt.
        message: the message to fill.
        source: the text's file, for messages.
        is_foreign: whether a layer type is not Caffe's, so that its fields can't be known.

    Raises:
        FormatError: Caffe can't parse the text; the message has `source:line:column`, and a
            suggestion for a misspelt name.
    """
    parser = TextParser(text)
    try:
        fields = parser.parse(message)
        error = None
    except TextError as raised:
        error = raised
    uses: list[ForkUse] = []
    warnings: list[str] = []
    lines = lines_of(text, (unknown.offset for unknown in parser.unknown))
    for unknown, line in zip(parser.unknown, lines, strict=True):
        if is_other_quantization(unknown.path):
            continue  # it is taken out as a whole
        field = _field_of_foreign_layer(unknown, is_foreign) or find_fork_field(unknown)
        if field is None:
            raise _format_error(_describe_unknown(unknown), text, unknown.offset, source)
        if field.name == "ceil_mode":
            what = _read_ceil_mode(unknown)
            if not what:
                what = "ceil_mode and round_mode contradict each other; keep one"
                raise _format_error(what, text, unknown.offset, source)
        elif field.effect is Effect.NOTHING or unknown.value == field.neutral:
            what = "is dropped: Caffe computes the same without it"
        else:
            uses.append(ForkUse(field, unknown.value, line, unknown.entry))
            continue
        name = f"{unknown.name} {field.name}" if unknown.enum else field.path
        warnings.append(f"{printable(source)}:{line}: {name} ({field.fork}) {what}")
    if error is not None:
        raise _format_error(str(error), text, error.offset, source) from None
    for use, offset in take_other_quantization(message, fields, text):
        uses.append(use._replace(line=line_of(text, offset)))
    for line in lines_of(text, parser.escaped):
        warnings.append(
            f"{printable(source)}:{line}: a string that is not UTF-8 is read with"
            " its bytes as escapes; write the file as UTF-8"
        )
    return Parsed(fields, uses, list(dict.fromkeys(warnings)))


def line_of(text: str, offset: int) -> int:
    """Return the number of the line of an offset."""
    return text.count("\n", 0, offset) + 1


def lines_of(text: str, offsets: Iterable[int]) -> list[int]:
    """Return the numbers of the lines of ascending offsets, in one pass over the text."""
    lines: list[int] = []
    line, end = 1, 0
    for offset in offsets:
        line += text.count("\n", end, offset)
        end = offset
        lines.append(line)
    return lines


def scalar_text(value: Scalar) -> str:
    """Return the value of an unknown field as a prototxt has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else value


def _field_of_foreign_layer(
    unknown: UnknownField, is_foreign: Callable[[str], bool]
) -> ForkField | None:
    """Return a field of a layer whose type is not Caffe's; None for a layer of Caffe."""
    for message in unknown.path:
        if isinstance(message, LayerParameter) and message.type and is_foreign(message.type):
            kind, owner = printable(message.type), unknown.message.DESCRIPTOR.name
            about = "is for a layer type that Caffe lacks"
            return ForkField(f"type {kind}", owner, unknown.name, Effect.FOREIGN, about)
    return None


def _read_ceil_mode(unknown: UnknownField) -> str:
    """Set Caffe's round_mode to what ceil_mode says; nothing where the two contradict."""
    param: Any = unknown.message
    mode = "CEIL" if unknown.value in (True, "t", 1) else "FLOOR"
    number = param.DESCRIPTOR.enum_types_by_name["RoundMode"].values_by_name[mode].number
    if param.HasField("round_mode") and param.round_mode != number:
        return ""
    param.round_mode = number
    return f"is read as Caffe's round_mode: {mode}"


def to_text(message: Message) -> str:
    """Return a message as protobuf text, indented by two spaces."""
    from google.protobuf import text_format  # slow to import

    return str(text_format.MessageToString(message))


def debug_text(message: Message) -> str:
    """Return a message as Caffe logs it (DebugString): whole numbers without a decimal point."""
    return re.sub(r"^( *\w+: -?\d+)\.0$", r"\1", to_text(message), flags=re.MULTILINE)


def _format_error(reason: str, text: str, offset: int, source: str) -> FormatError:
    line = line_of(text, offset)
    column = offset - text.rfind("\n", 0, offset)
    if "LayerType" in reason and "got" in reason:
        reason += (
            "; types in quotes belong into `layer`, and those of `layers` are words as CONVOLUTION"
        )
    error = FormatError(f"{printable(source)}:{line}:{column}: {reason}")
    error.position = (line, column)
    return error


def _describe_unknown(unknown: UnknownField) -> str:
    """Say which field or value is unknown, and suggest one that is not set already."""
    descriptor: Any = unknown.message.DESCRIPTOR
    if unknown.enum:
        word = printable(str(unknown.value))
        names = descriptor.fields_by_name[unknown.name].enum_type.values_by_name
        return f"{unknown.enum} has no value '{word}'{did_you_mean(word, names)}"
    is_set = {field.name for field, _ in unknown.message.ListFields()}
    repeated = {field.name for field in descriptor.fields if is_repeated(field)}
    names = set(descriptor.fields_by_name) - (is_set - repeated)
    # Forks beyond the table have fields like Caffe's: stepearly is no misspelt stepsize.
    hint = did_you_mean(unknown.name, sorted(names), cutoff=0.7)
    return f"{descriptor.name} has no field '{printable(unknown.name)}'{hint}"
