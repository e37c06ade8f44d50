"""`sqgen-caffe` in place of `caffe`: flags, exit codes, streams, signals, log.

sqgen's own parser and glog's format check the log.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sqgen import LogResult, parse_log
from sqgen.engine import command
from sqgen.engine.device import select_device
from sqgen.engine.flags import FLAGS, FlagError, parse
from sqgen.errors import NetError
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.schema import NetParameter
from sqgen.text import number_text

from . import engine_server
from .databases import make_lmdb, raw
from .devices import device_flags

NET = """name: "tiny"
layer {{ name: "data" type: "Data" top: "data" top: "label"
  data_param {{ source: "{source}" backend: LMDB batch_size: 4 }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include {{ phase: TEST }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
SOLVER = """net: "{net}"
base_lr: 1e-5
lr_policy: "step" gamma: 0.5 stepsize: 4
max_iter: 8 display: 2 test_iter: 2 test_interval: 4 snapshot: 4
snapshot_prefix: "{prefix}"
solver_mode: CPU
"""
STAMPED = re.compile(r"^([IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ ([\w.]+:\d+)\] (.*)$")


def make(folder: Path, net: str = "net.prototxt", source: str = "db", prefix: str = "s") -> None:
    """A net, its data, weights and a solver in a folder; names as seen from there."""
    made = NetParameter(name="tiny")
    layer = made.layer.add(name="ip", type="InnerProduct")
    for array in (np.linspace(-1e-3, 1e-3, 2160).reshape(10, 216), np.zeros(10)):
        fill_blob(layer.blobs.add(), array.astype(np.float32))
    make_lmdb(folder / source, (raw(number) for number in range(10)))
    (folder / net).write_text(NET.format(source=source))
    (folder / "w.caffemodel").write_bytes(made.SerializeToString())
    (folder / "solver.prototxt").write_text(SOLVER.format(net=net, prefix=prefix))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that a command needs; the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    make(tmp_path)
    return tmp_path


SCORE = ("test", "--model=net.prototxt", "--weights=w.caffemodel", "--iterations=3")
TRAIN = ("train", "--solver=solver.prototxt")
TIME = ("time", "--model=net.prototxt", "--iterations=2")
PATIENCE = 300  # seconds, on a machine that does much else


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python code in an interpreter of its own."""
    command_line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command_line, capture_output=True, timeout=PATIENCE, check=False)


# Flags


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--model=a=b"], "model", "a=b"),
        (["-model", "x"], "model", "x"),
        (["--model", "-"], "model", "-"),
        (["--model="], "model", ""),
        (["--model", "--weights"], "model", "--weights"),
        (["--model=x", "--model=y"], "model", "y"),
        (["--sigint_effect=none"], "sigint_effect", "none"),
        (["--sigint-effect=none"], "sigint_effect", "none"),
        (["--iterations", "7"], "iterations", 7),
        (["--iterations=0"], "iterations", 0),
        (["--level=-3"], "level", -3),
        (["--cpu"], "cpu", True),
        (["--cpu=false"], "cpu", False),
        (["--cpu=T"], "cpu", True),
        (["--cpu", "--nocpu"], "cpu", False),
        (["--logtostderr=1", "--v", "2", "--log_dir=/x"], "cpu", False),
        ([], "iterations", 50),
    ],
)
def test_values(arguments: list[str], name: str, value: object) -> None:
    for line in (["test", *arguments], [*arguments, "test"]):
        read = parse(line)
        assert read.values[name] == value
        assert read.words == ["test"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--modle=x"], "unknown command line flag 'modle'; did you mean 'model'?"),
        (["--zzz"], "unknown command line flag 'zzz'; --help lists them"),
        (["--nomodel"], "unknown command line flag 'nomodel'"),
        (["--=x"], "unknown command line flag ''"),
        (["--model"], "flag '--model' is missing its argument"),
        (["--cpu=maybe"], "illegal value 'maybe' for flag '--cpu'; true or false"),
        (["--iterations=ten"], "illegal value 'ten' for flag '--iterations'; a whole number"),
        (["--iterations="], "illegal value ''"),
        (["--iterations=-1"], "illegal value '-1'"),
        (["--iterations=1_000"], "illegal value '1_000'"),
        (["--iterations=٣"], "illegal value '٣'"),
        (["--iterations=2147483648"], "illegal value '2147483648'"),
        (["--iterations=" + "9" * 5000], "illegal value '999"),
        (["--threads=-1"], "illegal value '-1' for flag '--threads'"),
        (["--level=x"], "illegal value 'x' for flag '--level'"),
        (["--phase=train"], "illegal value 'train' for flag '--phase'; one of TRAIN, TEST"),
        (
            ["--precision=fp16"],
            "illegal value 'fp16' for flag '--precision'; one of fp32, bf16, fp64, int8, auto",
        ),
        (
            ["--sighup_effect=die"],
            "illegal value 'die' for flag '--sighup_effect'; one of stop, snapshot, none",
        ),
        (["--a\nb"], r"unknown command line flag 'a\nb'"),
    ],
)
def test_misuse(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FlagError, match=re.escape(said)):
        parse(arguments)
    assert command.run(["test", *arguments]) == 1
    out, log = capsys.readouterr()
    assert not out
    assert log.startswith(f"ERROR: {said}")
    assert log.count("\n") == 1


def test_words_behind_two_dashes_are_no_flags() -> None:
    assert parse(["--cpu", "--", "--model", "x"]).words == ["--model", "x"]


@pytest.mark.parametrize("words", [[], ["train", "test"], ["--cpu"]])
def test_one_action_is_needed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(words) == 1
    assert "usage: sqgen-caffe <command> <args>" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["tset", "", "-", "Train", "a\nb"])
def test_unknown_action(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run([word]) == 1
    lines = [STAMPED.fullmatch(line) for line in capsys.readouterr().err.splitlines()]
    assert all(lines)
    last = lines[-1]
    assert last is not None
    assert last[1] == "F"
    assert last[3].startswith("Unknown action: ")
    assert len(lines) == 6


def test_help_names_every_flag_and_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  --{flag.name} " in text for flag in FLAGS)
    assert max(map(len, text.splitlines())) <= 80


def test_version_is_caffes(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["--version"]) == 0
    assert re.fullmatch(r"caffe version 1\.0\.0 \(sqgen-caffe [\d.]+\)\n", capsys.readouterr().out)


@pytest.mark.process
def test_nothing_heavy_is_loaded_for_misuse_and_help() -> None:
    code = (
        "import sys\n"
        "from sqgen.engine import command\n"
        "codes = [command.run(['--help']), command.run(['--x']), command.run(['tset'])]\n"
        "assert codes == [0, 1, 1], codes\n"
        "assert not {'torch', 'numpy', 'cv2', 'lmdb'} & set(sys.modules)\n"
    )
    done = script(code)
    assert done.returncode == 0, done.stderr


# Devices


@pytest.mark.parametrize("gpu", ["0", "7", "0,1", "all", "-1", "x", " 0", "²", "٣", "9" * 30])
@pytest.mark.parametrize("action", [TIME, SCORE, TRAIN])
def test_gpu_that_is_not_there(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    action: tuple[str, ...],
    gpu: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command.run([*action, f"--gpu={gpu}"]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("F")]
    assert "--gpu" in line
    assert gpu.strip() in line
    assert "--cpu" in line.rpartition(";")[2]


def test_solver_that_asks_for_a_gpu(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text().replace("CPU", "GPU"))
    assert command.run(TRAIN) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("F")]
    assert "solver_mode: GPU in solver.prototxt asks for a GPU" in line
    assert line.endswith("; --cpu runs it on the CPU")
    assert command.run([*TRAIN, "--cpu"]) == 0


@pytest.mark.parametrize("flags", [[], ["--gpu="], ["--cpu", "--gpu=0"]])
def test_device_query_without_a_gpu(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["device_query", *flags]) == 0
    assert "] Querying GPUs " in capsys.readouterr().err


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch says that there is one GPU, and keeps its own settings after the test."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)


def test_a_gpu_computes_in_float32_and_the_same_twice(one_gpu: None) -> None:
    """As Caffe does: no TF32 in convolutions or products, no kernel that varies."""
    assert select_device(parse(["--gpu=0"])) == ("cuda:0", "0")
    assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(
    ("gpu", "rank", "found"),
    [
        ("0,1", "1", "cuda:1"),
        ("3,2", "0", "cuda:3"),
        ("all", "1", "cuda:1"),
        ("1", "1", "one GPU for 2 processes on this machine; give --gpu all"),
        ("2", "0", "one GPU for 2 processes"),
    ],
)
def test_the_gpu_of_a_rank(
    gpu: str, rank: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    try:
        assert select_device(parse([f"--gpu={gpu}"]))[0] == found
    except NetError as error:
        assert found in str(error)


@pytest.mark.cuda
def test_device_query_of_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["device_query", "--gpu=0"]) == 0
    log = capsys.readouterr().err
    assert re.search(rf"Name: +{re.escape(torch.cuda.get_device_name(0))}\n", log)


def test_a_signal_after_the_work_prints_no_traceback() -> None:
    code = (
        "import atexit, os, signal; from sqgen.engine import command;"
        "command.run = lambda words: 0;"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); command.main([])"
    )
    done = script(code)
    assert (done.returncode, done.stderr) == (0, b"")


# Parts that are not installed

WITHOUT = """
import sys
from sqgen.engine import command
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
sys.exit(command.run(sys.argv[2:]))
"""


@pytest.mark.process
@pytest.mark.parametrize("part", ["torch", "cv2"])
def test_part_that_is_missing(place: Path, part: str) -> None:
    done = script(WITHOUT, part, *SCORE)
    assert done.returncode == 2
    (line,) = [x for x in done.stderr.decode().splitlines() if x.startswith("F")]
    assert "pip install 'sqgen[engine]'" in line
    assert b"Traceback" not in done.stderr


CONVOLUTION = """layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 4 dim: 8 dim: 9 dim: 9 } shape { dim: 4 }
    data_filler { type: "uniform" max: 1 } data_filler { value: 3 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 6 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "point" type: "Convolution" bottom: "conv" top: "point"
  convolution_param { num_output: 5 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "point" top: "pool"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
"""
IN_EACH_PRECISION = """
import sys
from sqgen.engine.command import run
test = ["test", "--model=conv.prototxt", "--weights=none.caffemodel", "--iterations=2"]
for arguments in test, ["train", "--solver=conv_solver.prototxt"]:
    for precision in "fp32", "bf16":
        print("run", file=sys.stderr, flush=True)
        assert run([*arguments, "--precision", precision]) == 0
"""
INSTRUCTION_SETS = [("AVX2", "avx2"), ("SSE41", "default")]  # without AVX-512, without AVX


@pytest.mark.process
@pytest.mark.parametrize(("onednn", "aten"), INSTRUCTION_SETS)
def test_an_older_processor(place: Path, onednn: str, aten: str) -> None:
    """Every precision runs with the instruction sets that are left."""
    (place / "conv.prototxt").write_text(CONVOLUTION)
    (place / "none.caffemodel").write_bytes(NetParameter(name="n", layer=[{}]).SerializeToString())
    (place / "conv_solver.prototxt").write_text(
        'net: "conv.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2 display: 1'
        " random_seed: 3 solver_mode: CPU snapshot_after_train: false"
    )
    hidden = {**os.environ, "ONEDNN_MAX_CPU_ISA": onednn, "ATEN_CPU_CAPABILITY": aten}
    command_line = [sys.executable, "-c", IN_EACH_PRECISION]
    done = subprocess.run(
        command_line, capture_output=True, text=True, timeout=PATIENCE, check=False, env=hidden
    )
    assert done.returncode == 0, done.stderr[-400:]
    runs = done.stderr.split("run\n")[1:]
    assert len(runs) == 4
    for log in runs:
        losses = re.findall(r"loss = ([\d.]+)", log)
        assert losses
        assert all(0 < float(loss) < 10 for loss in losses)


# Streams

SHELL = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def through_shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    engine = [engine_server.python(), "-m", "sqgen.engine", *arguments]
    command_line = ["sh", "-c", f'exec "$@" {redirections}', "sh", *engine]
    return subprocess.run(command_line, capture_output=True, timeout=PATIENCE, check=False)


@SHELL
@pytest.mark.parametrize("redirections", ["2>&-", "2>/dev/full", "<&- >&- 2>&-"])
def test_training_goes_on_without_its_log(place: Path, redirections: str) -> None:
    if "full" in redirections and not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = through_shell(redirections, *TRAIN)
    assert done.returncode == 0, done.stderr
    assert Path("s_iter_8.solverstate").is_file()
    assert (done.stdout, done.stderr) == (b"", b"")


@SHELL
def test_exit_code_without_streams(place: Path) -> None:
    assert through_shell("2>&-", "train", "--solver=gone").returncode == 2
    assert through_shell(">&- 2>&-", "--zzz").returncode == 1
    assert through_shell(">&-", "--help").returncode == 0
    done = through_shell("| head -1", "--help")
    assert (done.returncode, done.stderr) == (0, b"")


@SHELL
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_help_that_finds_no_room() -> None:
    done = through_shell(">/dev/full", "--help")
    assert done.returncode == 2
    assert b"F" == done.stderr[:1]
    assert b"standard output: no space left on device" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_net_from_standard_input(place: Path) -> None:
    done = engine_server.run(
        "sqgen.engine",
        ["time", "--model", "-", "--iterations=1"],
        stdin=Path("net.prototxt").read_bytes(),
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert b"*** Benchmark ends ***" in done.stderr


# Signals


def interrupted(*arguments: str, after: str) -> tuple[int, str]:
    """Ctrl-C once a line came; the exit code, and the log."""
    child = subprocess.Popen(
        [engine_server.python(), "-m", "sqgen.engine", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        pipesize=4096,  # so that it can't run far ahead
    )
    assert child.stderr is not None
    log = ""
    for line in child.stderr:
        log += line
        if after in line:
            child.send_signal(signal.SIGINT)
            break
    log += child.communicate(timeout=PATIENCE)[1]
    return child.returncode, log


@SHELL
@pytest.mark.parametrize(
    ("arguments", "after"),
    [
        (("time", "--model=net.prototxt"), "Iteration: 2 "),
        (("test", "--model=net.prototxt", "--weights=w.caffemodel"), "Batch 2, "),
    ],
)
def test_interrupt(place: Path, arguments: tuple[str, ...], after: str) -> None:
    code, log = interrupted(*arguments, "--iterations=2000000000", after=after)
    assert code == 130
    assert "Traceback" not in log
    last = STAMPED.fullmatch(log.splitlines()[-1])
    assert last is not None
    assert (last[1], last[3]) == ("E", "interrupted")


SWALLOWED = """
import os, signal, sys
from sqgen.engine import command
class Library:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            try:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(1000):
                    pass
            except BaseException:
                pass
sys.meta_path.insert(0, Library())
sys.exit(command.run(sys.argv[1:]))
"""


@SHELL
@pytest.mark.process
def test_interrupt_that_a_library_swallows(place: Path) -> None:
    """NumPy and PyTorch do so here and there while they are loaded."""
    done = script(SWALLOWED, *TIME)
    assert done.returncode == 130
    assert re.fullmatch(rb"E.*\] interrupted\n", done.stderr)


# The log


def log_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert command.run([*arguments, "--threads=2"]) == 0
    out, log = capsys.readouterr()
    assert not out
    return log


def read(log: str) -> LogResult:
    return parse_log(io.BytesIO(log.encode()))


def texts(log: str) -> list[str]:
    """What the lines say; those of a prototxt are left out."""
    return [found[3] for line in log.splitlines() if (found := STAMPED.fullmatch(line))]


def in_log(device: str) -> tuple[str, str]:
    """The first line of a log, and what our parser makes of it."""
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return "Use CPU.", "CPU"
    return f"Use GPU with device ID {number}", f"GPU {number}"


def test_log_of_a_test(place: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    log = log_of(capsys, *SCORE, *device_flags(device))
    said = texts(log)
    assert said[0] == in_log(device)[0]
    for text in (
        "Opened lmdb db",
        "output data size: 4,3,8,9",
        "Creating Layer ip",
        "ip <- data",
        "ip -> ip",
        "Setting up ip",
        "Top shape: 4 10 (40)",
        "Memory required for data: 3472",
        "This network produces output accuracy",
        "Network initialization done.",
        "Running for 3 iterations.",
    ):
        assert text in said, text
    assert said.count("Creating layer loss") == 2  # its own, and that of its Softmax
    rows = [text for text in said if text.startswith("Batch ")]
    assert [row.partition(" = ")[0] for row in rows] == [
        f"Batch {number}, {name}" for number in range(3) for name in ("accuracy", "loss")
    ]
    values = [float(row.partition(" = ")[2]) for row in rows]
    summary = said[-3:]
    loss = f"{np.float32(sum(values[1::2])) / np.float32(3):.4g}"
    assert summary[0].startswith(f"Loss: {loss}")
    assert re.fullmatch(r"accuracy = [\d.]+", summary[1])
    assert re.fullmatch(r"loss = ([\d.]+) \(\* 1 = \1 loss\)", summary[2])
    result = read(log)
    assert (result.command, result.device, result.net) == ("test", in_log(device)[1], "tiny")


def test_log_of_a_training(place: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    log = log_of(capsys, *TRAIN, "--weights=w.caffemodel", *device_flags(device))
    said = texts(log)
    for text in (
        "Creating training net from net file: net.prototxt",
        "Creating test net (#0) specified by net file: net.prototxt",
        "Solver scaffolding done.",
        "Starting Optimization",
        "Solving tiny",
        "Learning Rate Policy: step",
        "Iteration 0, Testing net (#0)",
        "Iteration 4, lr = 5e-06",
        "Snapshotting to binary proto file s_iter_4.caffemodel",
        "Snapshotting solver state to binary proto file s_iter_8.solverstate",
        "Restarting data prefetching from start.",
    ):
        assert text in said, text
    ahead = "Restarting data prefetching from start."  # comes from the thread that reads
    assert [text for text in said if text != ahead][-2:] == ["Optimization Done."] * 2
    shown = [text for text in said if text.startswith("Iteration 2 (")]
    assert len(shown) == 1
    assert re.fullmatch(r"Iteration 2 \([\d.e+]+ iter/s, [\d.e-]+s/2 iters\), loss = \S+", shown[0])
    assert sum("    Train net output #0: loss = " in text for text in said) == 4
    assert sum("    Test net output #1: loss = " in text for text in said) == 3
    result = read(log)
    assert (result.command, result.device, result.net) == ("train", in_log(device)[1], "tiny")
    assert Path("s_iter_8.caffemodel").is_file()


def test_log_of_a_timing(place: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    log = log_of(capsys, *TIME, *device_flags(device))
    said = texts(log)
    for name in ("data", "ip", "loss"):
        for way in ("forward", "backward"):
            row = rf"{name:>10}\t{way}: [\d.e-]+ ms\."
            assert sum(re.fullmatch(row, text) is not None for text in said) == 1, row
    assert said[-1] == "*** Benchmark ends ***"
    assert read(log).command == "time"


def test_every_line_is_glogs_or_a_prototxts(
    place: Path, capsys: pytest.CaptureFixture[str], device: str
) -> None:
    for arguments in (SCORE, TRAIN, TIME):
        inside = False
        for line in log_of(capsys, *arguments, *device_flags(device)).splitlines():
            found = STAMPED.fullmatch(line)
            assert found is not None or inside, line
            if found is not None:
                assert found[1] in "IW"
                inside = found[3].endswith("from parameters: ")


@pytest.mark.parametrize(
    ("flags", "environment", "letters"),
    [
        ([], "", "I"),
        (["--minloglevel=1"], "", ""),
        ([], "1", ""),
        (["--minloglevel=0"], "2", "I"),
        ([], "two", "I"),
        ([], "²", "I"),
        ([], "-1", "I"),
    ],
)
def test_lines_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    environment: str,
    letters: str,
) -> None:
    monkeypatch.setenv("GLOG_minloglevel", environment)
    assert command.run(["device_query", *flags]) == 0
    assert {line[0] for line in capsys.readouterr().err.splitlines()} == set(letters)
    assert command.run(["train", "--minloglevel=9"]) == 2
    assert capsys.readouterr().err.startswith("F")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (2.30258509, "2.30259"),
        (1e-5, "1e-05"),
        (123456.7, "123457"),
        (1234567.0, "1.23457e+06"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (-0.0, "-0"),
    ],
)
def test_numbers_are_printed_as_streams_print_them(value: float, text: str) -> None:
    assert number_text(value) == text


# Names


@pytest.mark.parametrize("name", ["with space", "ünïcödé→", "new\nline", "quote'\\", "-dash"])
def test_names_of_any_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    inside = name.replace("\\", "\\\\").replace("\n", "\\n")
    make(folder, "net.prototxt", "db")
    Path("db").rename(f"{name} db")
    Path("net.prototxt").rename(f"{name}.prototxt")
    Path(f"{name}.prototxt").write_text(NET.format(source=f"{inside} db"))
    Path("solver.prototxt").write_text(SOLVER.format(net=f"{inside}.prototxt", prefix=inside))
    log_of(capsys, *TRAIN)
    assert Path(f"{name}_iter_8.solverstate").is_file()
    resumed = log_of(capsys, *TRAIN, f"--snapshot={name}_iter_4.solverstate")
    assert "Optimization Done." in resumed
    scored = log_of(
        capsys, "test", f"--model={name}.prototxt", f"--weights={name}_iter_8.caffemodel"
    )
    assert "Batch 49, loss = " in scored


def test_names_count_from_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in Caffe: not from the folder of the solver or of the net."""
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "sub")
    Path("sub/net.prototxt").write_text(NET.format(source="sub/db"))
    Path("sub/solver.prototxt").write_text(SOLVER.format(net="sub/net.prototxt", prefix="here"))
    log_of(capsys, "train", "--solver=sub/solver.prototxt")
    assert Path("here_iter_8.caffemodel").is_file()
    assert not list(Path("sub").glob("*_iter_*"))
