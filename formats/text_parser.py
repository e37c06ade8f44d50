"""Parse protocol buffer text as Caffe does: as TextFormat of protobuf's C++ library reads it.

The parser of protobuf's Python package differs: it takes `1_0`, `+8` and any Unicode space, refuses
`- 1` and strings that are not UTF-8, and says neither where a field stands nor what an unknown one
holds. This follows protobuf's io/tokenizer.cc and text_format.cc (3.21).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from ..text import printable

Scalar = str | float | bool
_NAME, _NUMBER, _STRING, _SYMBOL = 1, 2, 3, 4
# Space and comments, then a token, whose group is its kind; none is at the end of the text.
_LEXEME = r"""
(?:\s|\#[^\n]*(?:\n|\Z))*
(?: ([A-Za-z_]\w*)
  | (0[xX][0-9a-fA-F]+ | 0[0-7]+
    | (?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?)
  | ("(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*')
  | (\S)
  | \Z )
"""
_GOES_ON = re.compile(r"[\w.]+", re.ASCII)  # what ends no number
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|U(00[01][0-9a-fA-F]{5})|([abfnrtv\\?'\"]))"
    rb"|((?:\\u[0-9a-fA-F]{4})+)|\\"
)
_CONTROLS = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_TRUTHS = dict.fromkeys(("true", "True", "t"), True) | dict.fromkeys(("false", "False", "f"), False)
_CLOSINGS = {"{": "}", "<": ">", "[": "]"}
_MEANT = {
    "/": "; comments begin with #, not //",
    '"': "; a string ends on its line, with the quote it began with",
    "'": "; a string ends on its line, with the quote it began with",
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f", "; write straight quotes"),
}


class Field(NamedTuple):
    """A field of the text.

    Attributes:
        name: as written.
        offset: of the name in the text.
        fields: those of its message; none where it is a scalar.
        body: where the text of its message, between the braces, begins and ends.
    """

    name: str
    offset: int
    fields: list[Field]
    body: tuple[int, int] = (0, 0)


class UnknownField(NamedTuple):
    """A field, or a value of an enum, that the schema does not have.

    Attributes:
        path: the messages that it is in, the whole first.
        name: the field's.
        enum: the enum that lacks the value; empty where the field is unknown.
        value: of the field; for a message or list its tokens, with blanks between them.
        offset: of the name, or of the enum's value.
        entry: the index, among the fields of the whole text, of the one it is in.
    """

    path: tuple[Message, ...]
    name: str
    enum: str
    value: Scalar
    offset: int
    entry: int

    @property
    def message(self) -> Message:
        """The message that lacks the field, or the enum's value."""
        return self.path[-1]


class TextError(Exception):
    """What Caffe's parser refuses, and its offset in the text."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(what)
        self.offset = offset


class TextParser:
    """Fills a message from text.

    Attributes:
        unknown: the fields and values that the schema lacks, which the message is left without.
        escaped: the offsets of strings that are not UTF-8. No message can hold such bytes: they
            are in it as escapes, `\\xff`.
    """

    def __init__(self, text: str) -> None:
        self.unknown: list[UnknownField] = []
        self.escaped: list[int] = []
        self._text: Final = text
        self._lexemes = re.finditer(_LEXEME, text, re.ASCII | re.VERBOSE)  # leaves out nothing
        self._path: list[Message] = []
        self._entry = 0

    def parse(self, message: Message) -> list[Field]:
        """Fill a message; return the fields of the text in order.

        Raises:
            TextError: the first error; `unknown` has what is above it.
        """
        fields: list[Field] = []
        self._path.append(message)
        self._advance()
        while self._kind is not None:
            self._field(message, fields)
        whole: Any = message  # its type lacks the method
        for missing in whole.FindInitializationErrors():
            raise TextError(f"{missing} is missing; Caffe requires it", 0)
        return fields

    # Tokens

    def _advance(self) -> None:
        found: Any = next(self._lexemes)
        kind = self._kind = found.lastindex
        self._word: str = found[kind] if kind else ""
        self._offset: int = found.start(kind) if kind else found.end()
        if kind == _NUMBER and (more := _GOES_ON.match(self._text, found.end())):
            raise self._number_error(self._word + more[0])

    def _error(self, wanted: str) -> TextError:
        """Return the error that the current token is not what is wanted."""
        word, hint = self._word, _MEANT.get(self._word, "")
        if word == "+" and (more := _GOES_ON.match(self._text, self._offset + 1)):
            return self._number_error(word + more[0])
        if self._kind is None:
            return TextError(f"Expected {wanted}, but the file ends", self._offset)
        if word.isascii() or self._kind == _STRING:
            return TextError(f"Expected {wanted}, got {printable(word, 60)}{hint}", self._offset)
        import unicodedata  # only errors need it

        name = unicodedata.name(word, "a byte that is not UTF-8").lower()
        hint = hint or "; Caffe takes ASCII alone there"
        return TextError(f"U+{ord(word):04X} ({name}) outside of a string{hint}", self._offset)

    def _number_error(self, word: str) -> TextError:
        shown = printable(word, 40)
        return TextError(f"'{shown}' is no number for Caffe", self._offset)

    def _take(self, *symbols: str) -> str:
        """Go past the current token if it is one of these; return it, or nothing."""
        word = self._word
        if self._kind != _SYMBOL or word not in symbols:
            return ""
        self._advance()
        return word

    # Fields

    def _field(self, message: Message, fields: list[Field]) -> None:
        """Read a field, and append it."""
        if self._kind != _NAME:
            raise self._error("the name of a field")
        name, offset = self._word, self._offset
        self._advance()
        kind = _field_kinds(message.DESCRIPTOR).get(name)
        if len(self._path) == 1:
            self._entry = len(fields)
        if kind is None:
            # Listed first: it is likelier the mistake than what its value may be short of.
            self._report(name, "", "", offset)
            self.unknown[-1] = self.unknown[-1]._replace(value=self._unknown_value())
            fields.append(Field(name, offset, []))
        elif not kind.repeated and message.HasField(name):
            raise TextError(f"{name} is set twice; it takes one value", offset)
        else:
            self._values(message, kind, offset, fields)
        self._take(";", ",")

    def _report(self, name: str, enum: str, value: Scalar, offset: int) -> None:
        path = tuple(self._path)
        self.unknown.append(UnknownField(path, name, enum, value, offset, self._entry))

    def _values(self, message: Message, kind: _FieldKind, offset: int, fields: list[Field]) -> None:
        """Read the value of a field, or a list of values, each appended as a field."""
        if not self._take(":") and kind.read is not None:
            raise self._error("':'")
        if not kind.repeated or not self._take("["):
            self._value(message, kind, offset, fields)
        elif not self._take("]"):
            self._value(message, kind, self._offset, fields)
            while not self._take("]"):
                if not self._take(","):
                    raise self._error("',' or ']'")
                self._value(message, kind, self._offset, fields)

    def _value(self, message: Any, kind: _FieldKind, offset: int, fields: list[Field]) -> None:
        below: list[Field] = []
        index = len(fields)
        if len(self._path) == 1:
            self._entry = index  # a list has an entry for each of its values
        fields.append(Field(kind.name, offset, below))
        if kind.read is None:
            child = getattr(message, kind.name)
            if kind.repeated:
                child = child.add()
            else:
                child.SetInParent()  # a message without fields is set, too
            body = self._message(child, below)
            fields[index] = Field(kind.name, offset, below, body)
            return
        value = kind.read(self, kind.descriptor)
        if value is None:
            return
        if kind.repeated:
            getattr(message, kind.name).append(value)
        else:
            setattr(message, kind.name, value)

    def _message(self, message: Message, fields: list[Field]) -> tuple[int, int]:
        """Read a message; return where its text begins and ends."""
        start = self._offset + 1
        closing = _CLOSINGS.get(self._take("{", "<"))
        if closing is None:
            raise self._error("'{'")
        self._path.append(message)
        while self._kind == _NAME:
            self._field(message, fields)
        end = self._offset
        if not self._take(closing):
            raise self._error(f"'{closing}'")
        self._path.pop()
        return start, end

    def _unknown_value(self) -> Scalar:
        """Read the value of a field that the schema lacks, by its form."""
        colon = self._take(":")
        if self._kind == _SYMBOL and self._word in _CLOSINGS:
            return self._block()
        if not colon:
            raise self._error("':'")
        if self._kind == _STRING:
            return self.read_string()
        if self._kind == _NAME:
            word = self._word
            self._advance()
            return _TRUTHS.get(word, word) if len(word) > 1 else word
        return self.read_float()

    def _block(self) -> str:
        """Read tokens up to the end of what begins at the current one."""
        words: list[str] = []
        closings: list[str] = []
        while not words or closings:
            word, is_symbol = self._word, self._kind == _SYMBOL
            if is_symbol and word in _CLOSINGS:
                closings.append(_CLOSINGS[word])
            elif self._kind is None or (is_symbol and word in "}>]" and word != closings.pop()):
                raise self._error("the end of a message")
            words.append(word)
            self._advance()
        return " ".join(words)

    # Values

    def read_bytes(self) -> bytes:
        """Read a string, or several after another, which are one."""
        if self._kind != _STRING:
            raise self._error("a string in quotes")
        data = b""
        while self._kind == _STRING:
            try:
                raw = self._word[1:-1].encode(errors="surrogateescape")
            except UnicodeEncodeError:  # in a text that is from no file
                raise TextError("a string with half a surrogate pair", self._offset) from None
            data += self._unescape(raw)
            self._advance()
        return data

    def read_string(self) -> str:
        """Read a string of UTF-8, or of bytes that become escapes."""
        offset, data = self._offset, self.read_bytes()
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.escaped.append(offset)
            return data.decode(errors="backslashreplace")

    def _unescape(self, data: bytes) -> bytes:
        def replace(match: re.Match[bytes]) -> bytes:
            octal, hexadecimal, code, char, units = match.groups()
            if octal or hexadecimal:
                return bytes([int(octal or hexadecimal, 8 if octal else 16) & 255])
            if char:
                return bytes([_CONTROLS.get(char[0], char[0])])
            if code:
                number = int(code, 16)
                return chr(number).encode(errors="surrogatepass") if number < 0x110000 else match[0]
            if not units:
                raise TextError("a string with an unknown escape; write \\\\ for \\", self._offset)
            utf16 = bytes.fromhex(units.replace(b"\\u", b"").decode())
            text = utf16.decode("utf-16-be", "surrogatepass")
            return text.encode(errors="surrogatepass")

        return _ESCAPE.sub(replace, data) if b"\\" in data else data

    def read_float(self) -> float:
        """Read a number; integers are decimal here."""
        sign = -1.0 if self._take("-") else 1.0
        word = self._word
        if self._kind == _NAME and word.lower() in ("inf", "infinity", "nan"):
            value = float(word)
        elif self._kind == _NUMBER and not re.match("0[0-9xX]", word):
            value = float(word.rstrip("fF"))
        else:
            raise self._error("a decimal number")
        self._advance()
        return sign * value

    def read_integer(self, minimum: int, maximum: int) -> int:
        """Read a decimal, octal or hexadecimal integer."""
        offset = self._offset
        negative = minimum < 0 and bool(self._take("-"))
        word = self._word
        if self._kind != _NUMBER or not re.fullmatch("0[xX].*|[0-9]+", word):
            raise self._error("an integer")
        base = 16 if word[1:2] in ("x", "X") else 8 if word[0] == "0" else 10
        # Python reads no number of more than 4,300 digits.
        value = int(word, base) if len(word) < 100 else 1 << 64
        value = -value if negative else value
        if not minimum <= value <= maximum:
            shown = printable(f"{'-' * negative}{word}", 40)
            raise TextError(f"{shown} is not from {minimum} to {maximum}", offset)
        self._advance()
        return value

    def read_bool(self, name: str) -> bool:
        """Read a truth value."""
        if self._kind == _NUMBER:
            return bool(self.read_integer(0, 1))
        if self._kind != _NAME or self._word not in _TRUTHS:
            raise self._error(f"true or false for {name}")
        value = _TRUTHS[self._word]
        self._advance()
        return value

    def read_enum(self, field: Any) -> int | None:
        """Read a value of an enum; None for one that the schema lacks."""
        enum, offset, word = field.enum_type, self._offset, self._word
        owner = f"{enum.containing_type.name}." if enum.containing_type else ""
        if self._kind == _NAME:
            self._advance()
            value = enum.values_by_name.get(word)
        elif self._kind == _NUMBER or word == "-":
            number = self.read_integer(-(1 << 31), (1 << 31) - 1)
            word, value = str(number), enum.values_by_number.get(number)
        else:
            raise self._error(f"a word of {owner}{enum.name}")
        if value is not None:
            return int(value.number)
        self._report(field.name, f"{owner}{enum.name}", word, offset)
        return None


_Reader = Callable[[TextParser, FieldDescriptor], Any]


class _FieldKind(NamedTuple):
    """How to read a field; `read` is None for a message, and else returns its value."""

    name: str
    repeated: bool
    descriptor: FieldDescriptor
    read: _Reader | None


@cache
def _field_kinds(descriptor: Descriptor) -> dict[str, _FieldKind]:
    """Name -> kind of each field of a message."""
    return {field.name: _field_kind(field) for field in descriptor.fields}


def is_repeated(field: Any) -> bool:
    """Whether a field takes several values; protobuf 6 renamed the property."""
    repeated = getattr(field, "is_repeated", None)
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _field_kind(field: Any) -> _FieldKind:
    read = _read_bytes if field.type == FieldDescriptor.TYPE_BYTES else _READERS[field.cpp_type]
    return _FieldKind(field.name, is_repeated(field), field, read)


def _integer_reader(bits: int, signed: bool) -> _Reader:
    minimum = -(1 << bits - 1) if signed else 0
    maximum = (1 << bits - signed) - 1
    return lambda parser, field: parser.read_integer(minimum, maximum)


def _read_bytes(parser: TextParser, field: FieldDescriptor) -> bytes:
    return parser.read_bytes()


def _read_float(parser: TextParser, field: FieldDescriptor) -> float:
    return parser.read_float()


_READERS: dict[int, _Reader | None] = {
    FieldDescriptor.CPPTYPE_MESSAGE: None,
    FieldDescriptor.CPPTYPE_INT32: _integer_reader(32, signed=True),
    FieldDescriptor.CPPTYPE_INT64: _integer_reader(64, signed=True),
    FieldDescriptor.CPPTYPE_UINT32: _integer_reader(32, signed=False),
    FieldDescriptor.CPPTYPE_UINT64: _integer_reader(64, signed=False),
    FieldDescriptor.CPPTYPE_FLOAT: _read_float,
    FieldDescriptor.CPPTYPE_DOUBLE: _read_float,
    FieldDescriptor.CPPTYPE_BOOL: lambda parser, field: parser.read_bool(field.name),
    FieldDescriptor.CPPTYPE_STRING: lambda parser, field: parser.read_string(),
    FieldDescriptor.CPPTYPE_ENUM: lambda parser, field: parser.read_enum(field),
}
