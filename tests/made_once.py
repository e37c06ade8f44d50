"""What libraries take seconds to make, made once for all processes of a run of the tests.

That is Graphviz, which wasmtime compiles, and the bundle of Vega for pages. The first process that
needs one makes it as the product does; all others find it in a folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sqgen.drawing import layout
from sqgen.formats.files import write_files
from sqgen.report import charts, page


def share(place: Path) -> None:
    """Keep in a folder what this process and its forks make, and find it there."""
    _share_vega(place / "vega.js")
    _share_graphviz(place)


def _share_vega(path: Path) -> None:
    make = charts.vega_bundle

    @cache
    def bundle() -> str:
        if not path.exists():
            write_files({path: make().encode()}, force=True)
        return path.read_text(encoding="utf-8")

    charts.vega_bundle = page.vega_bundle = bundle  # type: ignore[attr-defined]


def _share_graphviz(place: Path) -> None:
    lay_out = layout._graphviz

    def lay_out_compiled(source: str, parts: Sequence[layout.Part]) -> bytes:
        with suppress(ImportError):
            _keep_compiled(place)
        return lay_out(source, parts)

    layout._graphviz = lay_out_compiled


@cache
def _keep_compiled(place: Path) -> None:
    """Turn wasmtime's own cache on for engines of which nothing else is asked."""
    import wasmtime

    settings = place / "wasmtime.toml"
    write_files({settings: f'[cache]\ndirectory = "{place / "compiled"}"\n'.encode()}, force=True)
    engine = wasmtime.Engine

    def caching(config: Any = None) -> Any:
        if config is None:
            config = wasmtime.Config()
            config.cache = str(settings)
        return engine(config)

    wasmtime.Engine = caching  # type: ignore[misc,assignment]
