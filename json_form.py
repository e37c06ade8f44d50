"""Convert frozen dataclasses to plain JSON data and back: nan and inf are words, tuples lists."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .text import printable

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_KINDS = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_FIELDS: dict[type, dict[str, tuple[Any, bool]]] = {}  # see _fields_of
Value = TypeVar("Value")


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
    return kind(**{k: _read(known[k][0], item, _place(where, k)) for k, item in plain.items()})


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
    shown = kinds.get(type(value)) or printable(repr(value), 60)
    return ValueError(f"{where or 'the whole'}: expected {expected}, got {shown}")


def _read(hint: Any, value: object, where: str) -> Any:
    """Return a value as its type hint has it."""
    if hint is Any:
        return value
    origin, arguments = get_origin(hint), get_args(hint)
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
        return {key: _read(arguments[1], v, _place(where, key)) for key, v in value.items()}
    if is_dataclass(hint):
        return from_json(hint, value, where)  # type: ignore[arg-type]
    return _read_scalar(hint, value, where)


def _read_scalar(kind: type, value: object, where: str) -> object:
    if kind is float:
        if isinstance(value, str) and value in _NON_FINITE:
            return _NON_FINITE[value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _wrong(where, _KINDS[kind], value)
