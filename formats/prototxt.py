"""Protocol buffer text in and out: `.prototxt` files.

The parser is protobuf's own. Added here: file:line:column in every error, a suggestion for a
misspelt name, and the fields of Caffe's forks (`fork_fields.py`).
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import text_format

from ..errors import FormatError
from ..text import did_you_mean, printable

SIZE_LIMIT = 16 << 20  # the largest published net (ResNet-152) is a hundredth of this

_UNKNOWN = r'type "(?:caffe\.)?([\w.]+)" has no (field|value) named "?([\w.]+)'
PARSED = (1 << 31, 0)  # behind every line: the text is read, what it says is refused
_POSITION = r"^\d+:\d+ : "


def decode(data: bytes, source: str) -> str:
    """The text of a prototxt.

    Bytes that are no UTF-8 survive as surrogates: old comments are in any encoding.

    Raises:
        FormatError: the bytes are binary (a caffemodel, say).
    """
    if b"\0" in data or data.startswith((b"\x89HDF", b"\x1f\x8b", b"PK\x03\x04")):
        raise FormatError(
            f"{printable(source)}: is binary, not text; give the .prototxt"
            " (a .caffemodel's layers: sqgen upgrade FILE)"
        )
    return data.decode("utf-8", errors="surrogateescape")


def parse(text: str, message: Any, source: str) -> list[str]:
    """Fill `message` from text and return the warnings: fields of forks that were dropped.

    Raises:
        FormatError: with `source:line:column`, what is wrong there, and what was likely meant.
    """
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


def to_text(message: Any) -> str:
    """A message as protobuf writes it, two spaces an indent."""
    return str(text_format.MessageToString(message))


def _format_error(error: text_format.ParseError, message: Any, source: str) -> FormatError:
    what = printable(re.sub(_POSITION, "", str(error)).strip().rstrip("."), 200)
    unknown = re.search(_UNKNOWN, what)
    hint = ""
    if "codec can't" in what:
        what = "a string that is not UTF-8; write the file as UTF-8"
    elif unknown:
        owner, kind, word = unknown.groups()
        what = f"{owner} has no {kind} '{word}'"
        hint = did_you_mean(word, _names(message, owner, kind))
    line, column = error.GetLine() or 0, error.GetColumn() or 0
    found = FormatError(f"{printable(source)}:{line}:{column}: {what}{hint}")
    found.position = (line, column)
    return found


def _names(message: Any, owner: str, kind: str) -> list[str]:
    file = message.DESCRIPTOR.file
    name, _, nested = owner.partition(".")
    found: Any = file.message_types_by_name.get(name) or file.enum_types_by_name.get(name)
    if nested:
        found = found.enum_types_by_name[nested]
    return list(found.fields_by_name if kind == "field" else found.values_by_name)
