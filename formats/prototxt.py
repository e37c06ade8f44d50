"""Parse and print `.prototxt` files: protocol buffer text.

protobuf's own parser reads them. This module adds file:line:column to every error, a suggestion for
a misspelt name, and the fields of Caffe's forks (`fork_fields.py`).
"""

from __future__ import annotations

import re

from google.protobuf import text_format
from google.protobuf.message import Message

from ..errors import FormatError
from ..text import did_you_mean, printable

SIZE_LIMIT = 16 << 20  # the largest published net (ResNet-152) is a hundredth of this

_UNKNOWN = r'type "(?:caffe\.)?([\w.]+)" has no (field|value) named "?([\w.]+)'
PARSED = (1 << 31, 0)  # position behind every line: of an error in a text that parsed
# Strings and comments, or else what Caffe's parser (protobuf's tokenizer.cc) refuses.
_SCAN = (
    r"""\"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\#[^\n]*"""
    r"""|([^\x00-\x7f]|(?<![\w.])\d\w*_\w*|(?<![eE])\+[\w.]*)"""
)
# One of these is in a text of ASCII that the scan refuses; the scan itself takes as long as lint.
_SUSPECTS = ("+", "0x", "0X")
_GROUPED_DIGITS = re.compile(r"_\d")
_POSITION = r"^\d+:\d+ : "


def decode(data: bytes, source: str) -> str:
    """Decode the bytes of a prototxt.

    Bytes that are not UTF-8 become surrogates: old comments are in any encoding.

    Raises:
        FormatError: the bytes are binary, such as a caffemodel's.
    """
    if b"\0" in data or data.startswith((b"\x89HDF", b"\x1f\x8b", b"PK\x03\x04")):
        raise FormatError(
            f"{printable(source)}: is binary, not text; give the .prototxt"
            " (a .caffemodel's layers: sqgen upgrade FILE)"
        )
    return data.decode("utf-8", errors="surrogateescape")


def parse(text: str, message: Message, source: str) -> list[str]:
    """Fill `message` from text; return a warning for each dropped field of a fork.

    Raises:
        FormatError: the text has an error; the message has `source:line:column`, and a suggestion
            for a misspelt name.
    """
    _check_characters(text, source)
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        if not re.search(_UNKNOWN, str(error)):
            raise _format_error(error, message, source) from None
    except RecursionError:
        raise FormatError(f"{printable(source)}: messages are nested too deeply") from None
    else:
        return []
    from . import fork_fields

    message.Clear()
    try:
        return fork_fields.parse(text, message, source)
    except FormatError as error:
        error.position = PARSED
        raise
    except text_format.ParseError as error:
        raise _format_error(error, message, source) from None


def _check_characters(text: str, source: str) -> None:
    """Refuse what Python's parser takes and Caffe's does not, such as a no-break space.

    Raises:
        FormatError: the first of these; the message has `source:line:column`.
    """
    suspicious = any(word in text for word in _SUSPECTS) or _GROUPED_DIGITS.search(text)
    if text.isascii() and not suspicious:
        return
    for match in re.finditer(_SCAN, text):
        found = match[1]
        if found is None:
            continue
        line = text.count("\n", 0, match.start()) + 1
        column = match.start() - text.rfind("\n", 0, match.start())
        if found.isascii():
            what = f"'{found}' is no number for Caffe; write it without '+' and '_'"
        else:
            import unicodedata

            code = f"U+{ord(found):04X}"
            name = unicodedata.name(found, "a byte that is not UTF-8")
            what = f"{code} ({name.lower()}) outside of a string; Caffe takes ASCII alone there"
        error = FormatError(f"{printable(source)}:{line}:{column}: {what}")
        error.position = (line, column)
        raise error


def to_text(message: Message) -> str:
    """Return a message as protobuf text, indented by two spaces."""
    return str(text_format.MessageToString(message))


def debug_text(message: Message) -> str:
    """Return a message as Caffe logs it (DebugString): whole numbers without a decimal point."""
    return re.sub(r"^( *\w+: -?\d+)\.0$", r"\1", to_text(message), flags=re.MULTILINE)


def _format_error(error: text_format.ParseError, message: Message, source: str) -> FormatError:
    reason = printable(re.sub(_POSITION, "", str(error)).strip().rstrip("."), 200)
    unknown = re.search(_UNKNOWN, reason)
    hint = ""
    if "codec can't" in reason:
        reason = "a string that is not UTF-8; write the file as UTF-8"
    elif unknown:
        owner, kind, word = unknown.groups()
        reason = f"{owner} has no {kind} '{word}'"
        hint = did_you_mean(word, _names(message, owner, kind))
    if reason.endswith("got /"):
        hint = "; comments begin with #, not //"
    elif reason.startswith("V1LayerParameter.LayerType has no value"):
        hint = (
            "; types in quotes belong into `layer`, and those of `layers` are words as CONVOLUTION"
        )
    line, column = error.GetLine() or 0, error.GetColumn() or 0
    format_error = FormatError(f"{printable(source)}:{line}:{column}: {reason}{hint}")
    format_error.position = (line, column)
    return format_error


def _names(message: Message, owner: str, kind: str) -> list[str]:
    """Return the fields of a message, or the values of an enum, that `owner` names."""
    file = message.DESCRIPTOR.file
    name, _, nested = owner.partition(".")
    message_type = file.message_types_by_name.get(name)
    if kind == "field" and message_type is not None:
        return list(message_type.fields_by_name)
    enums = message_type.enum_types_by_name if message_type else file.enum_types_by_name
    return list(enums[nested or name].values_by_name)
