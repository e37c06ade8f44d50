"""Frozen dataclasses as JSON and back: nan and inf are words, tuples lists.

All JSON that sqgen reads or writes goes through here. What is read may come from a stranger: every
fault of it is a ValueError.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .text import printable

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_INTEGERS = range(-(1 << 63), 1 << 64)  # what a field of any format holds
_FIELDS: dict[type, dict[str, tuple[Any, bool]]] = {}  # see _fields_of
Value = TypeVar("Value")


def dumps(value: Any) -> str:
    """Return plain data or a dataclass as the text of a JSON file, in ASCII."""
    return json.dumps(to_json(value), indent=2, allow_nan=False) + "\n"


def loads(data: bytes) -> Any:
    """Parse a JSON file in UTF-8.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f'{text} is not JSON; "{text.lower().removesuffix("inity")}" in quotes is')


def to_json(value: Any) -> Any:
    """Return plain data for JSON; nan and inf become the strings `nan`, `inf` and `-inf`."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    return value


def from_json(kind: type[Value], plain: object, where: str = "") -> Value:
    """Make a dataclass from plain data, checking the type of every field.

    Args:
        kind: the dataclass.
        plain: a result of `to_json`; fields with a default may be missing.
        where: the place of `plain`, for errors.

    Raises:
        ValueError: a field is missing, unknown, or of another type.
    """
    if not isinstance(plain, dict):
        raise _wrong(where, "an object", plain)
    known = _fields_of(kind)
    for key in plain:
        if key not in known:
            raise ValueError(f"{_place(where, key)}: no such field")
    for name, (_, required) in known.items():
        if required and name not in plain:
            raise ValueError(f"{_place(where, name)}: is missing")
    values = {}
    for key, item in plain.items():
        hint = known[key][0]
        # Most values are of their type, and need no name of their place for an error.
        is_plain = type(item) is hint is not int
        values[key] = item if is_plain else _read(hint, item, _place(where, key))
    return kind(**values)


def _fields_of(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type hint of each field of a dataclass, and whether it has no default."""
    if kind not in _FIELDS:
        hints = get_type_hints(kind)
        _FIELDS[kind] = {
            field.name: (hints[field.name], field.default is field.default_factory is MISSING)
            for field in fields(kind)
        }
    return _FIELDS[kind]


def _place(where: str, key: object) -> str:
    name = printable(str(key))
    return f"{where}.{name}" if where else name


def _wrong(where: str, expected: str, value: object) -> ValueError:
    kinds = {dict: "an object", list: "a list", type(None): "null"}
    if isinstance(value, int) and value not in _INTEGERS:
        shown = "one of more than 64 bits"
    else:
        shown = kinds.get(type(value)) or printable(repr(value), 60)
    return ValueError(f"{where or 'the whole'}: expected {expected}, got {shown}")


@cache  # the hints of the dataclasses
def _parts(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(hint), get_args(hint)


def _read(hint: Any, value: object, where: str) -> Any:
    """Return a value as its type hint has it."""
    if hint is Any:
        return value
    origin, arguments = _parts(hint)
    if origin in (Union, types.UnionType):
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _read(hint, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, "a list", value)
        return tuple(_read(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        if arguments[1] is Any:
            return value
        return {key: _read(arguments[1], v, _place(where, key)) for key, v in value.items()}
    if is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    return _read_scalar(hint, value, where)


def _read_scalar(kind: type, value: object, where: str) -> object:
    if kind is float and isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, bool):
        is_valid = kind is bool
    elif isinstance(value, int):
        is_valid = kind in (int, float) and value in _INTEGERS
    else:
        is_valid = isinstance(value, kind)
    if is_valid:
        return float(value) if kind is float else value  # type: ignore[arg-type]
    raise _wrong(where, _KINDS[kind], value)
