"""The steps of a run: which commands there are, what each is given, and what it leaves.

A step runs in a folder of its own below that of the run. The words of a step are those of a
command line; what the study gives a step, such as the weights of the step before, an option of the
study's file may replace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

DATA = "data"
DATA_COMMANDS = ("data digits",)
TRAIN_LMDB, TEST_LMDB = "train_lmdb", "test_lmdb"  # what `sqgen data digits` writes
OUTPUT = "output.json"  # in the folder of a step: what its command printed
RUN = "run"  # the run folder of a step that has one
SEEDED = ("build", "prune", "quantize")
# Commands that run an engine: they take its options after --.
ENGINE = ("train", "test", "time", "compress train")
# Set by the study, whatever its file says; `build` has a --snapshot that is an interval.
OWN = {
    *("out", "run-dir", "json", "resume", "force", "dry-run", "quiet", "net-path", "dump-design"),
    *("snapshot-prefix", "plot", "update-baseline", "junit", "markdown"),
    "print-slurm",
}
OWN_OF = {("train", "snapshot"), ("build", "net")}
# They measure a net for a file, and no net of a run.
NO_STEP = {("time", "table"), ("time", "hardware"), ("time", "space")}


@dataclass(frozen=True)
class Made:
    """What the steps so far have left, as paths from the folder of the run; None: nothing yet.

    Attributes:
        train_data, val_data: LMDBs.
        net, deploy, solver: prototxts.
        weights: a caffemodel.
        bits: of layers.
        compressed: the size of the weights in bytes, if they are compressed.
    """

    train_data: str | None = None
    val_data: str | None = None
    net: str | None = None
    deploy: str | None = None
    solver: str | None = None
    weights: str | None = None
    bits: str | None = None
    compressed: int | None = None


class Call(NamedTuple):
    """A command line of a step, without its options: of `sqgen`, in the step's folder.

    Attributes:
        words: the command, its arguments and options whose value the study gives.
        takes_options: whether the step's own options are added.
    """

    words: Sequence[str]
    takes_options: bool = True


class Context(NamedTuple):
    """Where a step is.

    Attributes:
        name: of the step, and its folder.
        made: before it.
        seed: of the run.
        given: the flags that the study's file sets.
        number: of the attempt, from 1.
        resume: whether the attempt before left a snapshot.
    """

    name: str
    made: Made
    seed: int
    given: Sequence[str]
    number: int = 1
    resume: bool = False

    def options(self, **values: str | None) -> list[str]:
        """Return the options that have a value, and none in the study's file."""
        words = []
        for name, value in values.items():
            flag = name.replace("_", "-")
            if value is not None and flag not in self.given:
                words += [f"--{flag}", value]
        return words

    def above(self, path: str | None) -> str | None:
        """Return a path from the folder of the run as one from that of the step."""
        return None if path is None else path if path.startswith("/") else f"../{path}"

    @property
    def run(self) -> str:
        """The run folder of this attempt."""
        return RUN if self.number == 1 else f"{RUN}-{self.number}"


class StepKind(NamedTuple):
    """What the study knows of a command.

    Attributes:
        calls: its command lines.
        leaves: (context, what it printed as JSON) -> what is there after it.
        needs: options that must have a value -> what gives them one, unless the file does.
        trains, tests: whether it does; what it prints then has seconds, or scores.
        takes_bits: whether it runs with bits that a step before chose.
    """

    calls: Callable[[Context], list[Call]]
    leaves: Callable[[Context, Any], Made]
    needs: Mapping[str, str] = {}
    trains: bool = False
    tests: bool = False
    takes_bits: bool = False


def _build(at: Context) -> list[Call]:
    seed = at.options(random_seed=str(at.seed))
    return [Call(["build", "--out", ".", "--snapshot-prefix", "net", *seed])]


def _after_build(at: Context, printed: Any) -> Made:
    place = at.name
    return replace(
        at.made,
        net=f"{place}/train_val.prototxt",
        deploy=f"{place}/deploy.prototxt",
        solver=f"{place}/solver.prototxt",
        weights=None,
        bits=None,
        compressed=None,
    )


def _train(at: Context) -> list[Call]:
    made = at.made
    start = ["--resume"] if at.resume else at.options(weights=at.above(made.weights))
    words = at.options(
        solver=at.above(made.solver),
        data=at.above(made.train_data),
        val_data=at.above(made.val_data),
        quantize=at.above(made.bits),
    )
    return [Call(["train", "--run-dir", at.run, "--json", *words, *start])]


def _after_train(at: Context, printed: Mapping[str, Any]) -> Made:
    snapshots = printed.get("snapshots") or []
    weights = [path for path in snapshots if path.endswith((".caffemodel", ".caffemodel.h5"))]
    last = f"{at.name}/{weights[-1]}" if weights else at.made.weights
    # A training with a file of bits leaves weights of those bits.
    compressed = at.made.compressed if at.made.bits is not None else None
    return replace(at.made, weights=last, compressed=compressed)


def _test(at: Context) -> list[Call]:
    made = at.made
    words = at.options(
        model=at.above(made.net),
        weights=at.above(made.weights),
        data=at.above(made.val_data),
        quantize=at.above(made.bits),
    )
    return [Call(["test", "--run-dir", at.run, "--json", *words])]


def _time(at: Context) -> list[Call]:
    words = at.options(model=at.above(at.made.deploy), phase="TEST")
    return [Call(["time", "--run-dir", at.run, "--json", *words])]


def _unchanged(at: Context, printed: Any) -> Made:
    return at.made


def _weights(at: Context) -> list[str]:
    """Return the weights as the argument of a command."""
    return [at.above(at.made.weights) or ""]


def _prune(at: Context) -> list[Call]:
    made = at.made
    words = at.options(net=at.above(made.net), data=at.above(made.train_data), seed=str(at.seed))
    return [Call(["prune", *_weights(at), "--out", "pruned", "--json", *words])]


def _after_prune(at: Context, printed: Any) -> Made:
    place = f"{at.name}/pruned"
    return replace(
        at.made,
        net=f"{place}/train_val.prototxt",
        deploy=f"{place}/deploy.prototxt",
        solver=f"{place}/solver.prototxt",
        weights=f"{place}/pruned.caffemodel",
    )


def _quantize(at: Context) -> list[Call]:
    made = at.made
    words = at.options(net=at.above(made.deploy), data=at.above(made.train_data), seed=str(at.seed))
    return [Call(["quantize", *_weights(at), "--out", "bits", "--json", *words])]


def _after_quantize(at: Context, printed: Mapping[str, Any]) -> Made:
    return replace(at.made, bits=f"{at.name}/bits/bits.toml", compressed=printed.get("bytes"))


def _compress(at: Context) -> list[Call]:
    made = at.made
    net = at.options(net=at.above(made.net))
    words = at.options(
        weights=at.above(made.weights),
        solver=at.above(made.solver),
        data=at.above(made.train_data),
        val_data=at.above(made.val_data),
    )
    train = ["compress", "train", "-o", "weights.sqz", "--run-dir", RUN, "--json"]
    return [Call([*train, *net, *words]), _decode(at)]


def _decode(at: Context) -> Call:
    net = at.options(net=at.above(at.made.deploy))
    words = ["compress", "decode", "weights.sqz", "-o", "decoded.caffemodel", *net]
    return Call(words, takes_options=False)


def _after_compress(at: Context, printed: Mapping[str, Any]) -> Made:
    decoded = f"{at.name}/decoded.caffemodel"
    return replace(at.made, weights=decoded, compressed=printed["points"][-1]["bytes"])


def _encode(at: Context) -> list[Call]:
    net = at.options(net=at.above(at.made.deploy))
    encode = ["compress", "encode", *_weights(at), "-o", "weights.sqz", "--json", *net]
    return [Call(encode), _decode(at)]


def _after_encode(at: Context, printed: Mapping[str, Any]) -> Made:
    decoded = f"{at.name}/decoded.caffemodel"
    return replace(at.made, weights=decoded, compressed=printed["bytes"])


# What gives an option a value: steps before, or data.
BUILD, TRAIN, TRAIN_DATA, VAL_DATA = "[build]", "[train]", "train in [data]", "val in [data]"
# What later steps get of these: fewer channels, and bits.
PRUNE, QUANTIZE = "[prune]", "[quantize]"
_NET, _DATA = {"net": BUILD}, {"data": TRAIN_DATA, "val-data": VAL_DATA}
_TRAIN = {"solver": BUILD, **_DATA}
_TEST = {"model": BUILD, "weights": TRAIN, "data": VAL_DATA}
_COMPRESS = {"weights": TRAIN, "net": BUILD, **_TRAIN}
STEPS: dict[str, StepKind] = {
    "build": StepKind(_build, _after_build),
    "train": StepKind(_train, _after_train, _TRAIN, trains=True, tests=True, takes_bits=True),
    "test": StepKind(_test, _unchanged, _TEST, tests=True, takes_bits=True),
    "time": StepKind(_time, _unchanged, {"model": BUILD}),
    "prune": StepKind(_prune, _after_prune, _NET),
    "quantize": StepKind(_quantize, _after_quantize, {**_NET, "data": TRAIN_DATA}),
    "compress train": StepKind(_compress, _after_compress, _COMPRESS, trains=True, tests=True),
    "compress encode": StepKind(_encode, _after_encode, _NET),
}
OF_OWN_NET = {"solver", "model", "net"}  # options that bring a net, which may name its data
TAKES_WEIGHTS = ("prune", "quantize", "compress encode")  # as an argument, so from a step before
