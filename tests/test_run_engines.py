"""Engine selection: every order of preference, and every way a caffe can be missing."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sqgen import extras
from sqgen.errors import SqgenError
from sqgen.runner import engines
from sqgen.runner.engines import CAFFE, TORCH, Engine, select_engine

from .small_runs import StandIn


def program(path: Path, command: str) -> Path:
    """A script that runs a command."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No caffe anywhere; gives the folder of the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.delenv("CAFFE_ROOT", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_every_order(
    tmp_path: Path, nowhere: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--caffe, CAFFE_ROOT, the PATH, the embedded one."""
    assert select_engine().kind == TORCH
    assert "no caffe on the PATH" in select_engine().why
    on_path = program(nowhere / "caffe", stand_in(version="caffe version 1.0.0-rc3"))
    assert select_engine() == Engine(CAFFE, (str(on_path),), "the one on the PATH", "1.0.0-rc3")
    root = tmp_path / "a root"
    built = program(root / "build" / "tools" / "caffe", stand_in(version="caffe version 1.0.0-rc5"))
    monkeypatch.setenv("CAFFE_ROOT", str(root))
    assert select_engine("caffe") == Engine(
        CAFFE, (str(built),), "the one of CAFFE_ROOT", "1.0.0-rc5"
    )
    given = stand_in()
    assert select_engine("auto", given) == Engine(
        CAFFE, tuple(shlex.split(given)), "given by --caffe", "1.0.0"
    )
    assert select_engine("torch").why == "the embedded engine"


@pytest.mark.parametrize("what", ["nothing", "a folder", "no program"])
def test_a_root_without_a_build(
    what: str, tmp_path: Path, stand_in: StandIn, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the PATH comes next."""
    monkeypatch.setenv("CAFFE_ROOT", str(tmp_path / "root"))
    built = tmp_path / "root" / "build" / "tools" / "caffe"
    if what == "a folder":
        built.mkdir(parents=True)
    if what == "no program":
        program(built, "x").chmod(0o644)
    assert select_engine().kind == TORCH
    assert f"no build/tools/caffe in CAFFE_ROOT ({tmp_path}/root)" in select_engine().why
    with pytest.raises(SqgenError, match="no caffe to run: no build/tools/caffe in CAFFE_ROOT"):
        select_engine("caffe")
    program(nowhere / "caffe", stand_in())
    found = select_engine("caffe")
    assert found.kind == CAFFE
    assert found.why == f"the one on the PATH: no build/tools/caffe in CAFFE_ROOT ({tmp_path}/root)"


@pytest.mark.process
@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs python -P")
def test_ours_imports_nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random.py in the working folder is not taken for Python's, unless it is for us too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')")
    command = select_engine("torch").command
    assert command[1:] == ("-P", "-m", "sqgen.engine")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [*command, "--help"], env=environment, capture_output=True, text=True, check=False
    )
    assert "not this one" not in done.stderr
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert select_engine("torch").command[1:] == ("-m", "sqgen.engine")


@pytest.mark.process
def test_ours_by_another_name(nowhere: Path) -> None:
    """sqgen-caffe stands in for caffe: a link of that name on the PATH is the embedded engine."""
    package = Path(__file__).parent.parent.parent
    program(
        nowhere / "caffe",
        shlex.join(["env", f"PYTHONPATH={package}", sys.executable, "-m", "sqgen.engine"]),
    )
    os.environ["PATH"] += ":/usr/bin:/bin"
    assert select_engine("caffe").kind == TORCH


@pytest.mark.parametrize(
    ("caffe", "message"),
    [
        ("", "an empty command"),
        ("  ", "an empty command"),
        ("caffe 'x", "no closing quotation"),
        ("no-such-caffe", "no program no-such-caffe"),
        ("./no/such caffe", "no program ./no/such"),
        ("/", "no program /"),
        ("/bin/sh -c 'exit 127'", "exit code 127"),
        ("/bin/sh -c 'echo not here; exit 126'", "not here"),
        ("a\0b", "no program"),
    ],
)
def test_no_caffe_by_caffe(caffe: str, message: str) -> None:
    with pytest.raises(SqgenError, match=message) as caught:
        select_engine("auto", caffe)
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()


def test_odd_answers(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing at all, an error, noise around it: it may be a caffe all the same."""
    for script in ("exit 0", "exit 1", "echo version 3 >&2; exit 1"):
        found = select_engine("auto", shlex.join(["/bin/sh", "-c", script]))
        assert (found.kind, found.version) == (CAFFE, "")
        assert str(found).endswith("given by --caffe")
    noisy = "echo libdc1394 error; echo caffe version 1.0.0-rc3; echo 'a\tb\033[1m version'"
    assert select_engine("auto", shlex.join(["/bin/sh", "-c", noisy])).version == "1.0.0-rc3"
    endless = "/bin/sh -c 'while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done'"
    with pytest.raises(SqgenError, match="more than 1 MiB in answer to --version"):
        select_engine("auto", endless)
    monkeypatch.setattr(engines, "VERSION_TIMEOUT", 0.1)
    silent = "/bin/sh -c 'read line < /dev/zero'"
    with pytest.raises(SqgenError, match="no answer to --version"):
        select_engine("auto", silent)


def test_torch_takes_no_caffe(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SqgenError, match="takes no --caffe"):
        select_engine("torch", stand_in())
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "cv2" else object())
    with pytest.raises(SqgenError, match=r"needs OpenCV: pip install 'sqgen\[engine\]'"):
        select_engine()
