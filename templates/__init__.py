"""Jinja2 templates of prototxt files and pages; `layers.j2` has a macro for each layer type.

`make templates` compiles them ahead into `compiled/`, which saves 20 ms, a tenth of the time of
`sqgen build`. A compiled module is used only if it matches its source and the installed Jinja2.
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
NAMES = (
    *("layers.j2", "net.prototxt.j2", "solver.prototxt.j2"),
    *("page.html.j2", "page_style.css.j2", "page_script.js.j2"),
    "drawing.svg.j2",
    *("net_page.html.j2", "net_page_style.css.j2", "net_page_script.js.j2"),
)


# Protobuf text's escapes, by code point.
_ESCAPES = {code: f"\\{code:03o}" for code in range(32)} | {
    ord(character): escape
    for character, escape in (
        ('"', r"\""),
        ("\\", r"\\"),
        ("\n", r"\n"),
        ("\r", r"\r"),
        ("\t", r"\t"),
    )
}


def quote(text: str) -> str:
    r"""Quote a string for protobuf text; escape quotes, backslashes and control characters."""
    return f'"{text.translate(_ESCAPES)}"'


def number(value: float) -> str:
    """Return the shortest decimal that reads back as `value`; a whole number has no `.0`."""
    whole = int(value)
    return str(whole) if value == whole and abs(whole) < 1 << 53 else repr(float(value))


def environment(loader: jinja2.BaseLoader | None = None) -> jinja2.Environment:
    """Return the environment of the templates, in which an unknown name is an error."""
    env = jinja2.Environment(
        loader=loader or jinja2.FunctionLoader(source),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=is_markup,  # noqa: S701 - in a prototxt, strings go through `quote`
    )
    # In a script of a page; a number that JSON lacks is an error.
    env.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    env.filters["quote"] = quote
    env.filters["number"] = number
    return env


def is_markup(name: str | None) -> bool:
    """Decide whether a template is HTML or SVG, so that what is put into it is escaped."""
    return name is not None and name.endswith((".html.j2", ".svg.j2"))


def source(name: str) -> str:
    """Return the source of a template."""
    return (FOLDER / name).read_text(encoding="utf-8")


def checksum(text: str) -> int:
    """Return the checksum of a template's source, to detect edits after compiling."""
    return zlib.crc32(text.encode())


def jinja_series() -> str:
    """Return the installed release series, such as 3.1, which compiled templates depend on."""
    return jinja2.__version__.rpartition(".")[0]


class _CompiledLoader(jinja2.BaseLoader):
    """Loads a template from its compiled module, or else from its source."""

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
        variables = {} if globals is None else globals
        if not fits:
            code = environment.compile(text, name, name)  # its name says whether it is HTML
            return environment.template_class.from_code(environment, code, variables)
        return environment.template_class.from_module_dict(environment, vars(module), variables)


def module_name(name: str) -> str:
    """Return the name of the compiled module: `net` for `net.prototxt.j2`."""
    return name.partition(".")[0]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return environment(_CompiledLoader())


def render(name: str, **variables: Any) -> str:
    """Render a template with these variables."""
    return _environment().get_template(name).render(variables)
