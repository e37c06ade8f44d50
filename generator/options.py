"""The fields of a design as command-line options and as TOML, from the one table in `Design`."""

from __future__ import annotations

import re
from typing import Any

from ..errors import DesignError
from ..text import did_you_mean, printable
from .design import Design
from .design_fields import FIELDS
from .presets import PRESETS, preset

_SAFE = re.compile(r"[\w@%+=:,./-]+", re.ASCII)


def shell_quote(text: str) -> str:
    """`text` as one word of a POSIX shell that stays on its line (`$'...'` where it must)."""
    if _SAFE.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(c if c.isprintable() else _ansi_c(c) for c in escaped) + "'"


def _ansi_c(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def to_text(value: Any) -> str:
    """A field's value as an option takes it."""
    if value is None or value == ():
        return "none" if value == () else ""
    if isinstance(value, tuple):
        return ",".join(to_text(item) for item in value)
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def from_text(name: str, text: str) -> Any:
    """A field's value from an option's text.

    Raises:
        DesignError: not what the field takes; the message names the option.
    """
    field = FIELDS[name]
    kind = str(field.type).removesuffix(" | None")
    text = text.strip() if kind != "str" else text
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if kind.startswith("tuple"):
            items = [] if text in ("", "none") else text.split(",")
            return tuple((int if "int" in kind else float)(item) for item in items)
        if "choices" in field.metadata:
            known = {choice.lower(): choice for choice in field.metadata["choices"]}
            return known.get(text.lower(), text)
    except ValueError:
        what = {"int": "a whole number", "float": "a number"}.get(
            kind, "numbers with commas between"
        )
        flag = field.metadata["flag"]
        raise DesignError(f"{flag} {printable(text)}: must be {what}") from None
    return text


def options_between(base: Design, design: Design) -> list[str]:
    """The options that make `design` of `base`, in the order of the fields."""
    words = []
    for name, field in FIELDS.items():
        value = getattr(design, name)
        if value == getattr(base, name):
            continue
        if value is None:
            raise DesignError(f"no option leaves {name} to be derived")
        flag = str(field.metadata["flag"])
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, shell_quote(to_text(value))]
    return words


def command_line(command: str, design: Design, net: str = "trainval") -> str:
    """The shortest command that makes this design: from nothing, or from a preset."""
    candidates = [options_between(Design(), design)]
    for name in PRESETS:
        try:
            candidates.append(["--preset", name, *options_between(preset(name), design)])
        except DesignError:
            continue  # what the preset sets and the design leaves open can't be said
    words = min(candidates, key=len)
    if net != "trainval":
        words = [*words, "--net", net]
    return " ".join(["sqgen", command, *words])


def from_table(table: dict[str, Any], source: str) -> Design:
    """A design from the tables of a TOML file, one a group of options.

    Raises:
        DesignError: an unknown table or key, or a value that makes no net; names the file.
    """
    table = dict(table)
    options: dict[str, Any] = {}
    base = table.pop("preset", None)
    groups = {str(field.metadata["group"]) for field in FIELDS.values()}
    for group, values in table.items():
        if group in FIELDS:
            home = FIELDS[group].metadata["group"]
            raise DesignError(f"{source}: {group} stands outside a table; put it under [{home}]")
        if group in groups and not isinstance(values, dict):
            raise DesignError(f"{source}: {group} must be a table: write [{group}] on its own line")
        if group not in groups:
            hint = did_you_mean(group, groups) or f"; one of {', '.join(sorted(groups))}"
            raise DesignError(f"{source}: no table [{printable(group)}] in a design{hint}")
        known = [name for name, field in FIELDS.items() if field.metadata["group"] == group]
        for name, value in values.items():
            if name not in known:
                flags = {str(FIELDS[one].metadata["flag"])[2:]: one for one in known}
                meant = flags.get(name.replace("_", "-"))
                hint = f"; did you mean '{meant}'?" if meant else did_you_mean(name, known)
                raise DesignError(f"{source}: [{group}] has no '{printable(name)}'{hint}")
            options[name] = tuple(value) if isinstance(value, list) else value
    try:
        start = Design() if base is None else preset(str(base))
        return start.with_options(**options)
    except DesignError as error:
        raise DesignError(f"{source}: {error}") from None


def to_table(design: Design) -> dict[str, dict[str, Any]]:
    """The tables of a TOML file: every field but those left to be derived."""
    table: dict[str, dict[str, Any]] = {}
    for name, field in FIELDS.items():
        value = getattr(design, name)
        if value is not None:
            value = list(value) if isinstance(value, tuple) else value
            table.setdefault(str(field.metadata["group"]), {})[name] = value
    return table
