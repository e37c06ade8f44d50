"""How a file is written: Jinja2 templates, one a kind of file, a macro a kind of layer.

The templates are compiled ahead into `compiled/` (`make templates`), which saves a build its
14 ms of compiling; a module there is used only where it fits its source and the Jinja2 that is
installed.
"""

from __future__ import annotations

import zlib
from collections.abc import MutableMapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import jinja2

FOLDER = Path(__file__).parent
NAMES = ("layers.j2", "net.prototxt.j2", "solver.prototxt.j2")


def quote(text: str) -> str:
    r"""A string of protobuf text: quotes, backslashes and control characters escaped."""
    named = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    shown = "".join(named.get(c) or (f"\\{ord(c):03o}" if ord(c) < 32 else c) for c in text)
    return f'"{shown}"'


def number(value: float) -> str:
    """The shortest decimal that reads back as `value`; a whole number without its `.0`."""
    whole = int(value)
    return str(whole) if value == whole and abs(whole) < 1 << 53 else repr(float(value))


def environment(loader: jinja2.BaseLoader | None = None) -> jinja2.Environment:
    """The environment of the templates: an unknown name is an error, never an empty string."""
    env = jinja2.Environment(
        loader=loader or jinja2.FunctionLoader(source),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - prototxt, not HTML; strings go through `quote`
    )
    env.filters["quote"] = quote
    env.filters["number"] = number
    return env


def source(name: str) -> str:
    """The text of a template."""
    return (FOLDER / name).read_text(encoding="utf-8")


def checksum(text: str) -> int:
    """What tells a compiled template from that of an edited source."""
    return zlib.crc32(text.encode())


def jinja_series() -> str:
    """Compiled templates fit the releases of one series, such as 3.1."""
    return jinja2.__version__.rpartition(".")[0]


class _CompiledLoader(jinja2.BaseLoader):
    """Loads a template from the module made of it, or else from its source."""

    has_source_access = False

    def load(
        self,
        environment: jinja2.Environment,
        name: str,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002 - the name is Jinja2's
    ) -> jinja2.Template:
        text = source(name)
        try:
            module = import_module(f".compiled.{module_name(name)}", __package__)
            fits = module.JINJA == jinja_series() and module.CHECKSUM == checksum(text)
        except ImportError:
            fits = False
        if not fits:
            return environment.from_string(text, globals)
        return environment.template_class.from_module_dict(
            environment, vars(module), {} if globals is None else globals
        )


def module_name(name: str) -> str:
    """`net.prototxt.j2` is compiled to `compiled/net.py`."""
    return name.partition(".")[0]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return environment(_CompiledLoader())


def render(name: str, **variables: Any) -> str:
    """The text of a template; it is given exactly `variables`."""
    return _environment().get_template(name).render(variables)
