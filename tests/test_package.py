"""The package: exported names, imports between rooms, no heavy imports in light commands."""

from __future__ import annotations

import ast
import gc
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import sqgen
from sqgen import errors
from sqgen.extras import importing

from .conftest import DATA, ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HEAVY = {
    "onnx",
    "onnxruntime",
    "numpy",
    "torch",
    "cv2",
    "PIL",
    "tomli_w",
    "hypothesis",
    "lmdb",
    "h5py",
    "safetensors",
    "flask",
    "vl_convert",
    "wasmtime",
    "waitress",
}


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


@pytest.mark.process
def test_import_is_light() -> None:
    assert not loaded_by("import sqgen") & {"google", "jinja2", "click", *HEAVY}


LIGHT = [
    ["build", "--bypass", "simple"],
    ["build", "--preset", "v1.1", "--net", "deploy"],
    ["solver"],
    ["log", "parse", f"{DATA}/logs/test_digits.log.gz"],
    ["--help"],
    ["build", "--help"],
    ["classify", "--help"],
    ["features", "--help"],
    ["finetune", "--help"],
    ["compress", "encode", "--help"],
    ["export", "--help"],
    ["import", "--help"],
    ["test", "--help"],
    ["errors", "--help"],
    ["report", "--help"],
    ["board", "--help"],
    ["weights", "map", "--help"],
    ["weights", "convert", "--help"],
]


def test_light_commands_load_nothing_heavy() -> None:
    """One after another in one interpreter: what a command loads is seen after it."""
    code = f"""
import sys
from sqgen.tools.cli import main
for arguments in {LIGHT!r}:
    try:
        main(arguments)
    except SystemExit as done:
        assert done.code == 0, done
    loaded = {HEAVY!r} & sys.modules.keys()
    assert not loaded, f"{{arguments}} loads {{loaded}}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_python_and_command_line_agree() -> None:
    text = sqgen.build(sqgen.Design(bypass="simple"))
    done = subprocess.run(
        [sys.executable, "-m", "sqgen", "build", "--bypass", "simple"],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == text
    assert sqgen.summary(sqgen.parse_net(text)).totals.parameters == 1_248_424


# Room -> the rooms it may import, beside itself and the ground floor (docs/design.md).
ROOMS: dict[str, set[str]] = {
    "templates": set(),
    "formats": set(),
    "nets": {"formats"},
    "weights": {"formats", "nets"},
    "generator": {"templates", "formats", "nets"},
    "models": {"formats", "generator"},
    "datasets": {"formats"},
    "compress": {"formats", "nets", "weights"},
    "evaluation": {"formats"},
    "engine": {"formats", "nets", "weights", "compress", "evaluation"},
    "exchange": {"formats", "nets", "weights", "generator", "compress", "engine"},
    "logs": {"formats", "nets", "models", "evaluation"},
    "runner": {"formats", "nets", "weights", "compress", "logs"},
    "drawing": {"templates", "formats", "nets"},
    "report": {
        "templates",
        "formats",
        "nets",
        "drawing",
        "datasets",
        "evaluation",
        "logs",
        "runner",
    },
    "search": {"formats"},
    "pruning": {"formats", "nets", "weights", "generator", "compress", "engine", "search"},
    "quantization": {"formats", "nets", "weights", "compress", "engine", "search"},
    "studies": {
        "formats",
        "nets",
        "compress",
        "engine",
        "search",
        "pruning",
        "evaluation",
        "runner",
        "logs",
        "report",
    },
    "sweep": {"formats", "nets", "generator", "logs", "report"},
    "finetune": {
        "formats",
        "nets",
        "weights",
        "generator",
        "datasets",
        "compress",
        "exchange",
        "engine",
        "logs",
        "runner",
    },
}
ROOMS["board"] = {"templates", "formats", "evaluation", "logs", "runner", "report"}
ROOMS["tools"] = set(ROOMS)
# The ground floor: modules beside the rooms, which import each other and no room.
GROUND = {path.stem for path in ROOT.glob("[a-z]*.py")}


def sources(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if "compiled" not in path.parts]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imported(path: Path) -> set[str]:
    """The modules of the package that a module imports, as names such as `formats.schema`.

    Imports within functions and under `TYPE_CHECKING` count too.
    """
    found = set()
    for node in statements(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].relative_to(ROOT).parts
            parts = (*base, *(node.module or "").split(".")) if node.module else base
            for alias in node.names:
                whole = (*parts, alias.name)
                found.add(".".join(whole if is_module(whole) else parts))
    return found


@cache
def is_module(parts: tuple[str, ...]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """All statements within a module or statement: a tenth of what `ast.walk` yields."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, part, ()):
            if isinstance(child, ast.stmt):
                yield child
            yield from statements(child)


def test_rooms_import_one_way_all_that_they_may() -> None:
    """Of rooms that one doesn't use, the table permits more than anybody needs."""
    for room, allowed in ROOMS.items():
        used: set[str] = set()
        for path in sources(ROOT / room):
            rooms = {name.partition(".")[0] for name in imported(path)}
            assert rooms <= {room} | allowed | GROUND, path.relative_to(ROOT)
            used |= rooms
        assert used
        assert room == "tools" or allowed <= used, room


def test_only_tools_draw() -> None:
    """click draws the bars: the others take callbacks (`progress.py`)."""
    for room in ROOMS.keys() - {"tools"}:
        for path in sources(ROOT / room):
            assert not re.search(r"^\s*(?:import|from) click\b", path.read_text(), re.MULTILINE)


def test_named_tuples_have_no_other_base() -> None:
    """Python 3.10 refuses it when the module is imported."""
    for path in (path for room in ROOMS for path in sources(ROOT / room)):
        for node in statements(parsed(path)):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base) for base in node.bases]
                assert "NamedTuple" not in bases or len(bases) == 1, f"{path.name}: {node.name}"


def test_the_ground_floor_imports_no_room() -> None:
    for name in GROUND - {"__main__"}:
        assert imported(ROOT / f"{name}.py") <= GROUND, name


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in [*ROOT.glob("[a-z]*.py"), *(p for room in ROOMS for p in sources(ROOT / room))]
    }
    edges = {name: sorted(imported(path) & graph.keys()) for name, path in graph.items()}
    try:
        list(TopologicalSorter(edges).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_every_room_is_packaged() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = table["tool"]["setuptools"]["packages"]
    there = {path.parent for room in ROOMS for path in (ROOT / room).rglob("__init__.py")}
    names = [".".join(("sqgen", *path.relative_to(ROOT).parts)) for path in there]
    assert sorted(listed) == sorted(["sqgen", *names])


def test_collection_resumes_after_a_failed_import() -> None:
    """And leaves out what was imported: walking PyTorch's objects takes 0.1 s each time."""
    with pytest.raises(ImportError), importing():
        import sqgen.no_such_module  # type: ignore[import-not-found]  # noqa: F401
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
