"""`make templates`: compile each template into a Python module of `compiled/`."""

from __future__ import annotations

from . import FOLDER, NAMES, checksum, environment, jinja_series, module_name, source


def compile_template(name: str) -> str:
    """Return the Python module of a template."""
    text = source(name)
    code = environment().compile(text, name, name, raw=True, defer_init=True)
    return (
        f"# {name}, compiled by `make templates`; edit that, not this.\n"
        f"JINJA = {jinja_series()!r}\nCHECKSUM = {checksum(text)}\n\n{code}\n"
    )


if __name__ == "__main__":
    for template in NAMES:
        path = FOLDER / "compiled" / f"{module_name(template)}.py"
        path.write_text(compile_template(template), encoding="utf-8")
