"""Convert designs to and from command-line options and TOML, by the table `FIELDS`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import DesignError
from ..text import did_you_mean, printable, shell_quote
from .design import Design
from .design_fields import FIELDS, REPLACED_BY_FIRES
from .presets import PRESETS, preset


def format_value(value: object) -> str:
    """Format a field's value as the option's argument."""
    if value is None or value == ():
        return "none" if value == () else ""
    if isinstance(value, tuple):
        return ",".join(_format_item(item) for item in value)
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _format_item(item: object) -> str:
    """Format an item of a list; one of `fires` is a tuple itself."""
    return "/".join(map(str, item)) if isinstance(item, tuple) else format_value(item)


def parse_value(name: str, text: str) -> Any:
    """Parse an option's argument as the value of field `name`.

    Raises:
        DesignError: the argument is not of the field's type; the message names the option.
    """
    field = FIELDS[name]
    kind = str(field.type).removesuffix(" | None")
    text = text.strip() if kind != "str" else text
    if name == "fires":
        return _parse_fires(text)
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
        expected = {"int": "a whole number", "float": "a number"}.get(
            kind, "numbers with commas between"
        )
        flag = field.metadata["flag"]
        raise DesignError(f"{flag} {printable(text)}: must be {expected}") from None
    return text


def _parse_fires(text: str) -> tuple[tuple[int, ...], ...]:
    """Parse sizes of Fire modules such as `16/64/64,16/64/60`; validation counts them."""
    fires = []
    for module, item in enumerate([] if text in ("", "none") else text.split(","), start=2):
        try:
            fires.append(tuple(int(size) for size in item.split("/")))
        except ValueError:
            raise DesignError(
                f"--fires: fire{module} {printable(item) or repr(item)}: must be 3 whole numbers,"
                " squeeze/expand1x1/expand3x3, such as 16/64/64"
            ) from None
    return tuple(fires)


def options_between(base: Design, design: Design) -> list[str]:
    """Return the options that turn `base` into `design`, in the order of the fields.

    Raises:
        DesignError: no option can do that.
    """
    words = []
    for name in _independent(design):
        field, value = FIELDS[name], getattr(design, name)
        if value == getattr(base, name):
            continue
        if value is None:
            raise DesignError(f"no option resets {name} to its derived value")
        flag = str(field.metadata["flag"])
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, shell_quote(format_value(value))]
    return words


def _independent(design: Design) -> list[str]:
    """Return the fields that define a design: all but those that its `fires` replaces."""
    replaced = () if design.fires is None else REPLACED_BY_FIRES
    return [name for name in FIELDS if name not in replaced]


def command_line(command: str, design: Design, net: str = "trainval") -> str:
    """Return the shortest command that builds a design, with or without a preset."""
    candidates = [options_between(Design(), design)]
    for name in PRESETS:
        try:
            candidates.append(["--preset", name, *options_between(preset(name), design)])
        except DesignError:
            continue  # no option resets what the preset sets
    words = min(candidates, key=len)
    if net != "trainval":
        words = [*words, "--net", net]
    return " ".join(["sqgen", command, *words])


def design_of_words(words: Sequence[str]) -> Design:
    """Return the design of the options of a command, as `command_line` writes them.

    Raises:
        DesignError: an option is unknown, or the options make no valid design.
    """
    names = {str(field.metadata["flag"]): name for name, field in FIELDS.items()}
    base, changes, left = Design(), {}, list(words)
    while left:
        flag = left.pop(0)
        if flag.startswith("--no-") and names.get(f"--{flag[5:]}"):
            changes[names[f"--{flag[5:]}"]] = False
        elif flag in names and str(FIELDS[names[flag]].type) == "bool":
            changes[names[flag]] = True
        elif not left or (flag not in names and flag not in ("--preset", "--net")):
            raise DesignError(f"no option '{printable(flag)}' of a design")
        elif flag == "--preset":
            base = preset(left.pop(0))
        else:
            value = left.pop(0)
            if flag != "--net":
                changes[names[flag]] = parse_value(names[flag], value)
    return base.with_options(**changes)


def design_from_table(table: dict[str, Any], source: str) -> Design:
    """Create a design from the tables of a TOML file, one a group of options.

    Raises:
        DesignError: a table or key is unknown, or the values define no valid net.
    """
    table = dict(table)
    options: dict[str, Any] = {}
    base = table.pop("preset", None)
    groups = {str(field.metadata["group"]) for field in FIELDS.values()}
    for group, values in table.items():
        if group in FIELDS:
            home = FIELDS[group].metadata["group"]
            raise DesignError(f"{source}: {group} is outside of a table; put it under [{home}]")
        if group in groups and not isinstance(values, dict):
            raise DesignError(f"{source}: {group} must be a table: write [{group}] on its own line")
        if group not in groups:
            hint = did_you_mean(group, groups) or f"; one of {', '.join(sorted(groups))}"
            raise DesignError(f"{source}: no table [{printable(group)}] in a design{hint}")
        known = [name for name, field in FIELDS.items() if field.metadata["group"] == group]
        for name, value in values.items():
            if name not in known:
                flags = {str(FIELDS[key].metadata["flag"])[2:]: key for key in known}
                meant = flags.get(name.replace("_", "-"))
                hint = f"; did you mean '{meant}'?" if meant else did_you_mean(name, known)
                raise DesignError(f"{source}: [{group}] has no '{printable(name)}'{hint}")
            options[name] = tuple(value) if isinstance(value, list) else value
    try:
        start = Design() if base is None else preset(str(base))
        return start.with_options(**options)
    except DesignError as error:
        raise DesignError(f"{source}: {error}") from None


def design_to_table(design: Design) -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML file, with every field that is neither derived nor replaced."""
    table: dict[str, dict[str, Any]] = {}
    for name in _independent(design):
        value = getattr(design, name)
        if value is not None:
            value = _as_lists(value) if isinstance(value, tuple) else value
            table.setdefault(str(FIELDS[name].metadata["group"]), {})[name] = value
    return table


def _as_lists(values: tuple[Any, ...]) -> list[Any]:
    return [_as_lists(value) if isinstance(value, tuple) else value for value in values]


def format_design(design: Design) -> str:
    """Return the TOML of a design file that makes the design again, headed by its command."""
    import re

    import tomli_w

    text = tomli_w.dumps(design_to_table(design))
    # The sizes of a Fire module, a list in a list, on one line.
    text = re.sub(r"(?m)^    \[[\s\d,]*\]", lambda match: _on_one_line(match[0]), text)
    return f"# {command_line('build', design)}\n{text}"


def _on_one_line(array: str) -> str:
    numbers = array.strip(" []\n,").split(",")
    return f"    [{', '.join(number.strip() for number in numbers)}]"
