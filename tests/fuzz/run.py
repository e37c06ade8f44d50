"""Run a command on a damaged input, and judge how it ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from random import Random
from typing import NamedTuple

from sqgen.text import escaped

from .. import engine_server
from ..conftest import ROOT
from .targets import Target, link_files

TIMEOUT = 90.0  # seconds, beside other work
MEMORY = 1 << 30  # bytes beyond those of an interpreter with everything imported
LINES, LENGTH = 20, 2000  # of standard error, and of a line
MODULES = {"sqgen": "sqgen", "sqgen-caffe": "sqgen.engine"}
# Exit code 1 is an answer of these only, 5 and 6 are never that of our own engine.
ANSWERS = re.compile(r"sqgen (?:lint|diff|gate|test|train|weights diff|data info)\b")
# What a terminal interprets, but for the tabs that Caffe itself prints.
_UNPRINTED = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_GLOG = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] ")
_TRACE = re.compile(rb'  File "([^"]+)", line \d+, in (\S+)\n')


class Outcome(NamedTuple):
    """How a command ended; `code` is None where it was killed for its time."""

    command: str
    code: int | None
    stdout: bytes
    stderr: bytes
    created: frozenset[str]


def prepare(target: Target, name: str, number: int, base: Path, folder: Path) -> str:
    """Write the input of a number into a new folder, and return the command that reads it."""
    random = Random(f"{name}:{number}")
    data = target.mutator(random.choice(target.seeds), random, random.choice(target.seeds))
    place(target, data, base, folder, random)
    return random.choice(target.commands)


def place(target: Target, data: bytes, base: Path, folder: Path, random: Random) -> None:
    """Write an input into a new folder, beside the valid files of `base`."""
    link_files(base, folder)
    path = folder / target.file
    if path.parent != folder and path.parent.is_symlink():
        path.parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    if target.finish is not None:
        target.finish(folder, random)


def run(command: str, folder: Path) -> Outcome:
    """Run a command in a folder."""
    program, *arguments = shlex.split(command)
    before = _names(folder)
    code, out, error = None, b"", b""
    try:
        done = engine_server.run(
            MODULES[program],
            arguments,
            cwd=folder,
            env={"CAFFE_ROOT": "", "COLUMNS": "", "PATH": "/usr/bin:/bin"},
            timeout=TIMEOUT,
            memory=MEMORY,
        )
        code, out, error = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        pass
    return Outcome(command, code, out, error, _names(folder) - before)


def _names(folder: Path) -> frozenset[str]:
    found = set()
    for root, folders, files in os.walk(folder):
        below = os.path.relpath(root, folder)
        found |= {os.path.normpath(f"{below}/{name}") for name in (*folders, *files)}
    return frozenset(found)


def faults(outcome: Outcome, may_exhaust: bool) -> list[str]:
    """Return what is wrong with the end of a command, a kind and its evidence each."""
    code, error = outcome.code, outcome.stderr.decode("utf-8", "backslashreplace")
    if code is None:
        return ["hang: it took too long"]
    if code < 0:
        return [f"signal: {-code}"]
    if "Traceback (most recent" in error or "Exception ignored" in error:
        return [f"traceback: {_signature(outcome.stderr)}"]
    if "a defect of sqgen" in error:
        message = error.partition("a defect of sqgen")[0].rpartition("\n")[2]
        return [f"defect: {_without_numbers(message)[-160:]}"]
    found = []
    allowed = {0, 2} | ({4} if may_exhaust else set())
    if ANSWERS.match(outcome.command):
        allowed.add(1)
    if code not in allowed:
        found.append(f"exit {code}: {_without_numbers(_last_line(error))[-160:]}")
    found += _faults_of_streams(outcome, error)
    found += _faults_of_files(outcome)
    return found


def _faults_of_streams(outcome: Outcome, error: str) -> list[str]:
    found = []
    lines = error.split("\n")[:-1]
    if outcome.code not in (0, 1) and not lines:
        found.append("silent: it failed without a message")
    if outcome.command.startswith("sqgen-caffe"):
        fatal = [line for line in lines if line.startswith("F") and _GLOG.match(line)]
        if outcome.code == 2 and (len(fatal) != 1 or lines[-1] != fatal[0]):
            found.append("log: not one F line at the end")
    elif len(lines) > LINES and "data create" not in outcome.command:  # it names each bad image
        found.append(f"verbose: {len(lines)} lines on standard error")
    if bad := [line for line in lines if _UNPRINTED.search(line)]:
        found.append(f"control characters: {_without_numbers(escaped(bad[0]))[:160]}")
    if any(len(line) > LENGTH for line in lines) and outcome.command.startswith("sqgen "):
        found.append("verbose: a line of thousands of characters")
    if "--json" in outcome.command and outcome.stdout:
        try:
            json.loads(outcome.stdout, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as reason:
            found.append(f"json: {_without_numbers(str(reason))[:80]}")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _faults_of_files(outcome: Outcome) -> list[str]:
    found = []
    if temporary := [name for name in outcome.created if name.endswith(".tmp")]:
        found.append(f"left: {_without_numbers(temporary[0])}")
    # A run keeps its log, and a training the snapshots before its end.
    kept = ("runs", "s_iter")
    new = [name for name in outcome.created if not name.startswith(kept)]
    if outcome.code not in (0, 1) and new and "train" not in outcome.command:
        found.append(f"left: {_without_numbers(min(new))} though it failed")
    return found


def _signature(error: bytes) -> str:
    """Return where in sqgen an exception was raised, and which."""
    ours = os.fsencode(ROOT)
    places = [place for place in _TRACE.findall(error) if place[0].startswith(ours)]
    place = b":".join(places[-1]).decode().removeprefix(f"{ROOT}/") if places else ""
    return f"{place}: {_without_numbers(_last_line(error.decode('utf-8', 'replace')))[:120]}"


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def _without_numbers(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", re.sub(r"[0-9a-f]*\d[0-9a-f]*", "#", text))


def keep(name: str, number: int, folder: Path, outcome: Outcome, kept: Path) -> Path:
    """Copy the folder of a finding, with its command and what it printed."""
    place = kept / f"{name}-{number}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place, symlinks=True, ignore=shutil.ignore_patterns("runs"))
    (place / "COMMAND").write_text(f"{outcome.command}\nexit code {outcome.code}\n")
    (place / "STDERR").write_bytes(outcome.stderr)
    return place
