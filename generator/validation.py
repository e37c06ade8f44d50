"""Validate the fields of a design, alone and together; errors name the option."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from ..errors import DesignError
from ..nets.solver_rules import POLICIES
from ..text import did_you_mean, printable
from .design_fields import FIELDS, REPLACED_BY_FIRES, DesignFields
from .fire import Fire

# Limits of Caffe's 32-bit floats; the minimum is the smallest of full precision.
FLOAT_MAX, FLOAT_MIN = 3.4028234663852886e38, 1.1754943508222875e-38

# Field -> its minimum and maximum.
RANGES: dict[str, tuple[float, float]] = {
    "fire_modules": (1, 64),
    "base_e": (2, 65536),
    "incr_e": (0, 65536),
    "freq": (1, 64),
    "pct3x3": (0, 1),
    "squeeze_ratio": (0, 1),
    "classes": (2, 1_000_000),
    "size": (1, 4096),
    "channels": (1, 1024),
    "stem_filters": (1, 65536),
    "dropout": (0, 0.99),
    "conv10_pad": (0, 16),
    "classifier_lr": (0, 1e6),
    "deploy_batch": (1, 65536),
    "batch_size": (1, 65536),
    "val_batch_size": (1, 65536),
    "effective_batch": (1, 1 << 24),
    "gpus": (1, 4096),
    "iter_size": (1, 1 << 20),
    "val_images": (1, 2**31 - 1),
    "test_iter": (1, 2**31 - 1),
    "test_interval": (1, 2**31 - 1),
    "base_lr": (0, 1e6),
    "gamma": (0, 1e6),
    "power": (-1e3, 1e3),
    "stepsize": (1, 2**31 - 1),
    "max_iter": (1, 2**31 - 1),
    "momentum": (0, 0.99999),
    "weight_decay": (0, 1e6),
    "display": (0, 2**31 - 1),
    "average_loss": (1, 2**31 - 1),
    "snapshot": (0, 2**31 - 1),
    "random_seed": (-1, 2**63 - 1),
    "scale": (-1e30, 1e30),
}
# Names go into logs and file names: no characters that need quoting.
_NAME = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+ -]{0,127}")
_NAMES = ("name", "classifier")
_OPTIONAL_PATHS = ("mean_file", "infogain_file")
_PATHS = (*_OPTIONAL_PATHS, "train_source", "val_source", "snapshot_prefix", "net_path")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "tuple[int, ...]": (tuple,),
    "tuple[float, ...]": (tuple,),
    "tuple[FireSizes, ...]": (tuple,),
}
_WORDS = {
    "str": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "tuple[FireSizes, ...]": "a list of lists such as [16, 64, 64]",
}


def option_error(design: DesignFields, name: str, reason: str) -> DesignError:
    """Return a DesignError that names the option of a field and its value."""
    return _value_error(name, getattr(design, name), reason)


def _value_error(name: str, value: object, reason: str) -> DesignError:
    return DesignError(f"{FIELDS[name].metadata['flag']} {_shown(value)}: {reason}")


def _shown(value: object) -> str:
    try:
        text = ",".join(map(_joined, value)) if isinstance(value, tuple) else str(value)
        return printable(text) or "''"
    except ValueError:  # of a number of thousands of digits
        return "a number of thousands of digits"


def _joined(item: object) -> str:
    if not isinstance(item, tuple):
        return str(item)
    return "/".join(repr(size) if isinstance(size, str) else str(size) for size in item)


def normalize(value: Any) -> Any:
    """Convert lists to tuples, and numbers of other libraries such as NumPy to Python's."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, tuple):
        return tuple(map(normalize, value))
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def check_fields(design: DesignFields) -> None:
    """Check the type, choices and range of each field.

    Raises:
        DesignError: a value is of the wrong type or out of range.
    """
    for name, field in design.__dataclass_fields__.items():
        value = normalize(getattr(design, name))
        object.__setattr__(design, name, value)
        kind = str(field.type)
        if value is None and kind.endswith("| None"):
            continue
        if value != field.default or type(value) is not type(field.default):
            _check_type(design, name, kind.removesuffix(" | None"), value)
            _check_value(design, name, value, field.metadata.get("choices"))
            if kind.startswith("float") and type(value) is int:
                object.__setattr__(design, name, float(value))


def _check_type(design: DesignFields, name: str, kind: str, value: Any) -> None:
    fits = isinstance(value, _TYPES[kind]) and (kind == "bool") == isinstance(value, bool)
    if fits and name == "fires":
        _check_sizes(value)
    elif fits and isinstance(value, tuple):
        item = kind[len("tuple[") : -len(", ...]")]
        fits = all(isinstance(v, _TYPES[item]) and not isinstance(v, bool) for v in value)
        if not fits:
            raise option_error(design, name, f"each must be {_WORDS[item]}")
    if not fits:
        raise option_error(design, name, f"must be {_WORDS.get(kind, 'a list')}")


def _check_value(
    design: DesignFields, name: str, value: Any, choices: tuple[str, ...] | None
) -> None:
    if choices is not None and value not in choices:
        hint = did_you_mean(value, choices) or f"; one of {', '.join(choices)}"
        raise option_error(design, name, f"not known{hint}")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not abs(number) <= FLOAT_MAX:
            raise option_error(design, name, "must be a finite number (32-bit float)")
        if isinstance(number, float) and 0 < abs(number) < FLOAT_MIN:
            raise option_error(design, name, "is too small: a 32-bit float would be 0")
    if name in RANGES:
        minimum, maximum = RANGES[name]
        if not minimum <= value <= maximum:
            raise option_error(design, name, f"must be from {_bound(minimum)} to {_bound(maximum)}")
    if name in _NAMES and value and not _NAME.fullmatch(value):
        raise option_error(
            design,
            name,
            "a name may hold letters, digits, spaces and _ . / + - (no quotes or {})",
        )
    if name in _PATHS and name not in _OPTIONAL_PATHS and not value:
        raise option_error(design, name, "must not be empty")
    if name in _PATHS and not _encodable(value):
        raise option_error(design, name, "is not UTF-8")


def _check_sizes(fires: tuple[Any, ...]) -> None:
    """Check the three sizes of each Fire module; errors name it and show no other."""
    modules = RANGES["fire_modules"][1]
    if not 1 <= len(fires) <= modules:
        shown = fires if not fires else f"of {len(fires)} Fire modules"
        raise _value_error("fires", shown, f"must have from 1 to {_bound(modules)} Fire modules")
    for module, sizes in enumerate(fires, start=2):
        reason = _why_no_sizes(sizes)
        if reason:
            place = f"fire{module} {_shown((sizes,))}"
            raise DesignError(f"{FIELDS['fires'].metadata['flag']}: {place}: {reason}")


def _why_no_sizes(sizes: object) -> str:
    """Return why this is not the sizes of a Fire module, or an empty string."""
    if not isinstance(sizes, tuple) or len(sizes) != 3:
        return "must be 3 numbers, squeeze/expand1x1/expand3x3"
    minimum, maximum = RANGES["stem_filters"]
    if any(not isinstance(size, int) or isinstance(size, bool) for size in sizes):
        return f"each must be {_WORDS['int']}"
    if not all(minimum <= size <= maximum for size in sizes):
        return f"each must be from {_bound(minimum)} to {_bound(maximum)}"
    return ""


def _bound(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def check_fires(design: DesignFields, fires: Sequence[Fire]) -> None:
    """Refuse Fire modules with 0 squeeze or expand filters.

    Raises:
        DesignError: a module has none of a kind.
    """
    sr, pct = design.squeeze_ratio, design.pct3x3
    remedies = {
        "squeeze": ("squeeze_ratio", "raise --sr" + (" or --base-e" if sr else "")),
        "expand3x3": ("pct3x3", "raise --pct3x3" + (" or --base-e" if pct else "")),
        "expand1x1": ("pct3x3", "lower --pct3x3" + (" or raise --base-e" if pct < 1 else "")),
    }
    for fire in fires:
        for part, (name, remedy) in remedies.items():
            if getattr(fire, part) < 1:
                raise option_error(
                    design,
                    name,
                    f"gives fire{fire.module} 0 {part} filters; {remedy}",
                )


def check_replaced(design: DesignFields, options: Mapping[str, Any]) -> None:
    """Refuse options for the Fire modules' sizes beside `fires` that gives others.

    Args:
        design: with the options.
        options: the fields that were named.

    Raises:
        DesignError: there is such an option.
    """
    if design.fires is None and options.get("fires") is None:
        return
    for name in REPLACED_BY_FIRES:
        # No metaparameter makes irregular sizes, not even one that is as by default.
        said = design.fires is None or name == "fire_modules"
        if name in options and not (said and normalize(options[name]) == getattr(design, name)):
            count = f"{design.fire_modules} Fire modules"
            gives = count if name == "fire_modules" else "other sizes"
            raise _value_error(
                name, options[name], f"--fires gives {gives}; leave one of the two out"
            )


def check_pools(design: DesignFields, modules: range, pools: Sequence[int]) -> None:
    """Refuse pooling after modules that don't exist or are out of order.

    Raises:
        DesignError: there is such a pooling.
    """
    for module in design.pool_after or ():
        if module not in modules:
            last = modules[-1]
            raise option_error(
                design,
                "pool_after",
                f"there is no fire{module}; this net has fire2 to fire{last}",
            )
    if list(pools) != sorted(set(pools)):
        raise option_error(design, "pool_after", "must increase, each module once")


def check_data(design: DesignFields) -> None:
    """Refuse means and scales that contradict the images.

    Raises:
        DesignError: two options contradict each other.
    """
    if design.mean_file and design.mean_values:
        raise option_error(design, "mean_file", "give a mean file or mean values, not both")
    if design.mean_values and len(design.mean_values) not in (1, design.channels):
        raise option_error(
            design,
            "mean_values",
            f"give {'' if design.channels == 1 else '1 value or '}{design.channels}, one a channel",
        )
    if design.scale == 0:
        raise option_error(design, "scale", "makes every image the same")
    if design.backend == "imagedata" and design.channels not in (1, 3):
        raise option_error(design, "channels", "image files have 3 channels, or 1 (gray)")


def check_solver(design: DesignFields) -> None:
    """Refuse solver settings that contradict each other.

    Raises:
        DesignError: two options contradict each other.
    """
    used = POLICIES[design.lr_policy]
    for name, field in (("gamma", "gamma"), ("stepsize", "stepsize"), ("stepvalues", "stepvalue")):
        if field in used and not getattr(design, name):
            raise option_error(design, "lr_policy", f"needs --{name}")
        if field not in used and getattr(design, name):
            reason = f"is not used by --lr-policy {design.lr_policy}"
            raise option_error(design, name, reason)
    if design.cpu and design.gpus > 1:
        raise option_error(design, "gpus", "--cpu runs on none; leave one of the two out")
    if any(not 0 < value < 2**31 for value in design.stepvalues):
        raise option_error(design, "stepvalues", "each must be from 1 to 2147483647")
    if list(design.stepvalues) != sorted(set(design.stepvalues)):
        raise option_error(design, "stepvalues", "must increase")
