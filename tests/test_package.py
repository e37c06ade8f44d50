"""The package's contract: what it exports, and that light commands load nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sqgen
from sqgen import errors

from .conftest import DATA, ROOT

HEAVY = {"numpy", "torch", "cv2", "PIL", "matplotlib", "tomli_w", "hypothesis", "lmdb"}


def loaded_by(code: str) -> set[str]:
    """The top-level modules that `code` loads in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_exported_names() -> None:
    assert sorted(sqgen.__all__) == sorted({*sqgen._HOME, "__version__"})
    assert dir(sqgen) == sorted(sqgen.__all__)
    for name in sqgen.__all__:
        value = getattr(sqgen, name)
        if name not in ("PRESETS", "__version__"):
            assert value.__doc__, f"{name} has no docstring"
            assert value.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'bulid'"):
        sqgen.bulid  # noqa: B018


def test_every_error_is_exported() -> None:
    mine = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SqgenError)
    }
    assert mine <= set(sqgen.__all__)


def test_a_net_without_pytorch_is_refused_in_one_line() -> None:
    code = """
import sys
sys.modules["torch"] = None
import sqgen
try:
    sqgen.Net
except sqgen.SqgenError as error:
    assert str(error) == "sqgen.Net needs PyTorch: pip install 'sqgen[engine]' brings it"
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_import_is_light() -> None:
    assert not loaded_by("import sqgen") & {"google", "jinja2", "click", *HEAVY}


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "--bypass", "simple"],
        ["build", "--preset", "v1.1", "--net", "deploy"],
        ["solver"],
        ["log", "parse", f"{DATA}/logs/test_digits.log.gz"],
        ["--help"],
        ["build", "--help"],
        ["classify", "--help"],
        ["compress", "encode", "--help"],
        ["test", "--help"],
        ["weights", "map", "--help"],
    ],
)
def test_light_commands_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
from sqgen.tools.cli import main
try:
    main({arguments!r})
except SystemExit as done:
    assert done.code == 0, done
"""
    assert not loaded_by(code) & HEAVY


def test_python_and_command_line_agree() -> None:
    text = sqgen.build(sqgen.Design(bypass="simple"))
    done = subprocess.run(
        [sys.executable, "-m", "sqgen", "build", "--bypass", "simple"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == text
    assert sqgen.summary(sqgen.parse_net(text)).totals.parameters == 1_248_424


# Room -> the rooms it may import, beside itself (docs/design.md).
ROOMS: dict[str, set[str]] = {
    "formats": {"errors"},
    "templates": set(),
    "generator": {"errors", "formats", "templates", ""},
    "models": set(),
    "engine": {"errors", "formats", ""},
    "compress": {"errors", "formats", "engine"},
    "tools": {"errors", "formats", "generator", "engine", "compress", "models", ""},
}


def imported_rooms(path: Path) -> set[str]:
    """The rooms that a module imports from; the root package is empty."""
    depth = len(path.relative_to(ROOT).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {(node.module or "").partition(".")[0]}
            if node.module is None:
                names = {alias.name for alias in node.names}
                found = (found - {""}) | {name if (ROOT / name).is_dir() else "" for name in names}
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    modules = [p for p in (ROOT / room).rglob("*.py") if "compiled" not in p.parts]
    assert modules
    for path in modules:
        allowed = ROOMS[room] | {room}
        assert imported_rooms(path) <= allowed, path.relative_to(ROOT)
