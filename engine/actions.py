"""The actions of `sqgen-caffe`: train, test, time, device_query (tools/caffe.cpp)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch

from ..compress.bits_file import BitsFile, format_bits_file, parse_bits_file, read_bits_file
from ..errors import NetError
from ..formats.caffemodel import encode_caffemodel, split_weights
from ..formats.files import STDIN, check_file_target, write_files
from ..formats.fork_fields import TESTED
from ..formats.schema import NetState, SolverParameter
from ..formats.snapshot_files import (
    WrittenConstraints,
    check_written_constraints,
    complete_prefix,
    remove_unfinished,
)
from ..formats.snapshot_lock import SnapshotLock
from ..formats.upgrade import SOLVER_TYPE
from ..nets.definition import NetDefinition, parse_solver, read_net, read_text, upgrade_line
from ..text import number_text, printable
from . import glog, memory
from .constraints import TrainingConstraints
from .device import select_device
from .distributed import environment
from .distributed.divided_test import tested_batches, weights_digest
from .distributed.environment import Placement, default_threads, find_placement
from .distributed.same_bits import start_quantization
from .distributed.same_run import facts, net_facts, require_same, versions
from .distributed.shards import Shards
from .distributed.store_watch import watched_by_store
from .distributed.watch import ACTIVITY
from .distributed.world import World
from .executor import Executor
from .flags import INT8, CommandLine
from .kernels.convolution import has_bf16
from .loader import EndOfData
from .open_net import EngineOptions, open_net
from .precision import (
    compute_in_integers,
    float_precision,
    integer_bits,
    kernel_precision,
    test_precision,
)
from .predictions import PredictionCollector, check_predictions_target
from .quantization import quantized_model
from .scores import ScoreSums
from .signals import SignalHandler
from .snapshots import SavedRun, read_snapshot
from .solver import Solver
from .timing import time_layers
from .upgrade_log import log_reading, log_upgrades, read_weights
from .workers import Workers

SEED_BITS = 62
NAMES_SHOWN = 5  # layer names in a message


def dispatch(action: str, line: CommandLine, busy_cores: float) -> None:
    """Run an action.

    Args:
        action: its name.
        line: its flags.
        busy_cores: how many cores other processes keep busy.

    Raises:
        SqgenError: an invalid flag, net or file, or a device that this machine lacks.
    """
    memory.keep_freed_memory()
    if line.text("precision") == "bf16" and not (torch.cuda.is_available() or has_bf16()):
        glog.warning("this processor has no bf16 instructions: bf16 is slower than fp32 here")
    if action == "device_query":
        device_query(line)
        return
    workers = Workers(line.integer("threads") or default_threads(), busy_cores)
    torch.set_num_threads(workers.layer_threads)
    {"train": train, "test": test, "time": time}[action](line, workers)


def _options(
    line: CommandLine, precision: str, device: str, workers: Workers, seed: int
) -> EngineOptions:
    return EngineOptions(precision, device, workers, seed, line.on("exact"))


def _new_seed() -> int:
    return int.from_bytes(os.urandom(8), "little") >> (64 - SEED_BITS)


def _require_flag(line: CommandLine, flag: str, message: str) -> str:
    value = line.text(flag)
    if not value:
        raise NetError(f"{message} Give --{flag}=FILE")
    return value


def _read_net(line: CommandLine) -> NetDefinition:
    """Read the net of `--model`, in the level and stages of the flags."""
    net = read_net(_require_flag(line, "model", "Need a model definition."))
    state = NetState(stage=line.text("stage").split(","))
    return net.in_state(state, line.integer("level"))


def train(line: CommandLine, workers: Workers) -> None:
    """Train or fine-tune a net."""
    path = _require_flag(line, "solver", "Need a solver definition to train.")
    snapshot, weights = line.text("snapshot"), line.text("weights")
    _check_start(snapshot, weights)
    given = _read_bits(line)
    if line.text("calibrated") or line.text("rounded"):
        raise NetError(
            "--calibrated=FILE and --rounded=FILE are for test; train writes"
            " PREFIX_iter_N.bits.toml, with which a test rounds its weights"
        )
    param, source = _read_solver(path)
    param.train_state.level = line.integer("level")
    param.train_state.stage.extend(line.text("stage").split(","))
    device, gpu = select_device(line, param, printable(source))
    _log_training_device(param, gpu, line.text("gpu"))
    precision = float_precision(line, gpu)
    if snapshot or weights:
        del param.weights[:]
    if weights:
        param.weights.append(weights)
    ACTIVITY.mark("meeting", 0)
    placement = find_placement()
    with closing(World(placement, device)) as world, _watched(placement, line):
        ACTIVITY.mark("comparison", 0)
        require_same(world, versions())
        _train(line, workers, param, source, given, (precision, device), world)


def _train(
    line: CommandLine,
    workers: Workers,
    param: SolverParameter,
    source: str,
    given: BitsFile | None,
    number_format: tuple[str, str],
    world: World,
) -> None:
    """Train, once the processes have met.

    Args:
        line: the flags.
        workers: the compute threads.
        param: the SolverParameter.
        source: its file.
        given: the bits of the flags.
        number_format: precision and device.
        world: the processes.
    """
    snapshot = line.text("snapshot")
    effects = line.text("sigint_effect"), line.text("sighup_effect")
    with ExitStack() as stack:
        if world.leads:
            _lock_snapshots(stack, param.snapshot_prefix)
        signals = stack.enter_context(SignalHandler(*effects))
        saved = read_snapshot(snapshot) if snapshot and world.leads else None
        start = _RunStart.of(param, saved, line.text("constraints"), world)
        if start.threads and not line.integer("threads"):
            workers.follow(start.threads)
        precision, device = number_format
        options = _options(line, precision, device, workers, start.seed)
        options.shards = Shards.of_process(start.shards, world.rank, world.size)
        constraints = _read_constraints(start.constraints, saved)
        bits = _bits_to_train(given, saved)
        solver = Solver(param, source, options, signals.next_request, constraints, world)
        stack.callback(solver.close)
        if world.size > 1:
            own = facts(solver.net, param, precision, constraints.digest, given)
            require_same(world, own)
        if saved is not None:
            glog.info(f"Resuming from {snapshot}", "caffe.cpp:235")
            solver.restore(saved)
        solver.join()
        solver.quantize(bits)
        del saved  # its history takes as much memory as the weights
        glog.info("Starting Optimization", "caffe.cpp:239")
        solver.solve()
        glog.info("Optimization Done.", "caffe.cpp:250")


def _lock_snapshots(stack: ExitStack, prefix: str) -> None:
    lock = stack.enter_context(SnapshotLock(prefix))
    if lock.is_held and (removed := remove_unfinished(prefix)):
        glog.info(f"Removed {removed} unfinished files of a training that was killed")


class _RunStart(NamedTuple):
    """What rank 0 decides for all ranks.

    Attributes:
        seed: of all random numbers.
        shards: see `Shards`.
        threads: of each rank; 0 where each takes its own number.
        constraints: the file of constraints, or an empty string.
    """

    seed: int
    shards: int
    threads: int
    constraints: str

    @classmethod
    def of(
        cls, param: SolverParameter, saved: SavedRun | None, constraints: str, world: World
    ) -> _RunStart:
        """Return it on all ranks.

        Args:
            param: the SolverParameter.
            saved: the run to resume, on rank 0; None for a new one.
            constraints: the file that the flags name.
            world: the processes.
        """
        state = saved.resume_state if saved is not None else None
        shards, threads = world.size, 0
        if state is not None and state.shards > 1 and state.shards % world.size == 0:
            shards, threads = state.shards, state.threads
        constraints = constraints or (state.constraints if state is not None else "")
        own = cls(_training_seed(param, saved), shards, threads, constraints)
        if state is not None and shards != state.shards:
            glog.warning(
                f"Resuming with {shards} workers instead of {state.shards}: each iteration now"
                f" learns from {shards} batches, no record is left out or read twice"
            )
        elif shards != world.size:
            glog.info(f"Computing the batches of {shards} workers by {world.size}")
        return cls(*json.loads(world.tell(json.dumps(own))))


def _watched(placement: Placement | None, line: CommandLine) -> AbstractContextManager[None]:
    """Watch ranks that another launcher started."""
    return watched_by_store(placement, line.integer("stall_timeout"))


def _check_start(snapshot: str, weights: str) -> None:
    if snapshot and weights:
        raise NetError(
            "Give a snapshot to resume training or weights to finetune but not both"
            " (--snapshot, --weights)"
        )


def _read_solver(path: str) -> tuple[SolverParameter, str]:
    """Read a solver and log its warnings; return the SolverParameter and its file."""
    warnings: list[str] = []
    text, source = read_text(path)
    param = parse_solver(text, source, warnings)
    upgraded = upgrade_line(source, SOLVER_TYPE)
    if upgraded in warnings:
        warnings.remove(upgraded)
        log_upgrades([SOLVER_TYPE], path)
    for warning in warnings:
        glog.warning(warning)
    completed = complete_prefix(param, "" if path == STDIN else path)
    if completed:
        was_given = "was not specified" not in completed
        glog.info(completed, f"upgrade_proto.cpp:{1113 if was_given else 1108}")
    return param, source


def _read_constraints(path: str, saved: SavedRun | None) -> TrainingConstraints:
    """Return the constraints of a file, which the run to resume had.

    Raises:
        NetError: the run to resume had others.
        FormatError: the file can't be read.
    """
    state = saved.resume_state if saved is not None else None
    written = None
    if state is not None:
        written = WrittenConstraints(state.constraints, state.constraints_digest)
    constraints = TrainingConstraints.read(path) if path else TrainingConstraints()
    if saved is not None:
        check_written_constraints(saved.path, written, constraints.digest)
    return constraints


def _training_seed(param: SolverParameter, saved: SavedRun | None) -> int:
    """Return the seed of the run to resume, else the solver's, the launcher's, or a new one."""
    if saved is not None and saved.resume_state is not None:
        return saved.resume_state.seed
    if param.random_seed >= 0:
        return param.random_seed
    launcher = os.environ.get(environment.SEED, "")
    return int(launcher) if launcher.isdecimal() else _new_seed()


def _log_training_device(param: SolverParameter, gpu: str, requested: str) -> None:
    """Log the devices of a training: Caffe names all of `--gpu`, of which `gpu` is this rank's."""
    if not gpu:
        glog.info("Use CPU.", "caffe.cpp:197")
        return
    gpus = requested.split(",") if "," in requested else [gpu]
    if requested == "all":
        gpus = [str(number) for number in range(torch.cuda.device_count())]
    glog.info(f"Using GPUs {', '.join(gpus)}", "caffe.cpp:204")
    for each in gpus:
        glog.info(f"GPU {each}: {torch.cuda.get_device_name(int(each))}", "caffe.cpp:209")
    param.device_id = int(gpu)


def _log_device(gpu: str, gpu_place: str, cpu_place: str) -> None:
    """Log the device of `test` or `time` with Caffe's file:line for a GPU or the CPU."""
    if gpu:
        glog.info(f"Use GPU with device ID {gpu}", gpu_place)
    else:
        glog.info("Use CPU.", cpu_place)


def _bits_to_train(given: BitsFile | None, saved: SavedRun | None) -> BitsFile | None:
    """Return the bits of a training: as given, or those of the run to resume with its ranges.

    Raises:
        NetError: the run to resume had others.
    """
    if saved is None:
        return given
    shown, state = printable(saved.path), saved.resume_state
    written = None
    if state is not None and state.bits:
        written = parse_bits_file(state.bits, f"{shown}: bits in its .sqgenstate")
    if given is None:
        return written
    if written is None:
        raise NetError(
            f"{shown} is of no quantized training that has its .sqgenstate; start from its weights,"
            " with --weights"
        )
    if not given.means_as(written):
        raise NetError(
            f"{shown} is of a training with other bits or quantizers; resume without --quantize,"
            " --bits and --activation-bits, or start from its weights, with --weights"
        )
    return written


def _read_bits(line: CommandLine) -> BitsFile | None:
    """Return the bits of `--quantize`, `--bits` and `--activation-bits`; None of a float net."""
    path = line.text("quantize")
    weights, activations = (line.integer(name) or None for name in ("bits", "activation_bits"))
    if not path and weights is None and activations is None:
        return None
    file = read_bits_file(path) if path else BitsFile()
    return file.with_default_bits(weights, activations)


def test(line: CommandLine, workers: Workers) -> None:
    """Score a net, batch by batch."""
    definition = _read_net(line)
    definition.require_caffe("TEST", TESTED)
    weights = _require_flag(line, "weights", "Need model weights to score.")
    device, gpu = select_device(line)
    _log_device(gpu, "caffe.cpp:266", "caffe.cpp:275")
    if gpu:
        glog.info(f"GPU device name: {torch.cuda.get_device_name(int(gpu))}", "caffe.cpp:270")
    predictions, blob = line.text("predictions"), line.text("blob")
    if predictions:
        check_predictions_target(predictions)
    elif blob:
        raise NetError("--blob names the scores of --predictions=FILE; give both")
    bits = _read_bits(line)
    precision = test_precision(line, gpu, definition, bits)
    integers = precision == INT8
    if integers:
        bits, precision = integer_bits(bits), "fp32"
    written = _QuantizedFiles.of(line, bits)
    placement = find_placement()
    log_reading(definition)
    with closing(World(placement, device)) as world, _watched(placement, line):
        require_same(world, versions())
        options = _options(line, precision, device, workers, _new_seed())
        options.shards = Shards.of_process(world.size, world.rank, world.size, by_batch=True)
        with closing(open_net(definition, "TEST", options)) as net, _unchanged_data():
            collector = PredictionCollector(net, blob or None) if predictions else None
            computed = kernel_precision() if integers else precision
            _load_tested_weights(net, weights, computed, world)
            _quantize(net, bits, written, integers, world)
            scores = _score_net(net, line, collector, world)
    if scores.batches:
        _log_scores(scores)
    if collector is not None and world.leads:
        collector.write(predictions)


def _load_tested_weights(net: Executor, names: str, precision: str, world: World) -> None:
    """Load weights; of several processes, check that all have the same, and the same net."""
    _load_weights(net, names)
    _warn_uninitialized(net)
    if world.size > 1:
        require_same(world, {**net_facts(net, precision), "weights": weights_digest(net)})


def _score_net(
    net: Executor, line: CommandLine, collector: PredictionCollector | None, world: World
) -> ScoreSums:
    """Test the batches of the flags; return the scores, on rank 0."""
    if not net.loaders and any(layer.type == "Input" for layer in net.inputs.layers):
        glog.warning("the net reads no data, its inputs are zeros; use the train_val net")
    iterations, scores = _count_iterations(line, net), ScoreSums(net, line.on("exact"))
    _score_batches(net, iterations, scores, collector, world)
    return scores


@contextmanager
def _unchanged_data() -> Iterator[None]:
    """Say what an early end of the data means."""
    try:
        yield
    except EndOfData:
        raise NetError("the data ended early; its number of records changed") from None


class _QuantizedFiles(NamedTuple):
    """The files of a quantized net to write: its bits with ranges, its weights; each may be ""."""

    calibrated: str
    rounded: str

    @classmethod
    def of(cls, line: CommandLine, bits: BitsFile | None) -> _QuantizedFiles:
        """Return those of the flags, which can be written.

        Raises:
            SqgenError: one can't, or the net is not quantized.
        """
        files = cls(line.text("calibrated"), line.text("rounded"))
        for flag, path in files._asdict().items():
            if path and bits is None:
                raise NetError(f"--{flag}=FILE is for a quantized net; give --quantize or --bits")
            if path:
                check_file_target(Path(path), force=True)
        return files


def _quantize(
    net: Executor, bits: BitsFile | None, files: _QuantizedFiles, integers: bool, world: World
) -> None:
    """Quantize a net that has bits, in simulation or integers; write what became of both."""
    quantization = start_quantization(bits, net, world)
    if quantization is None:
        return
    net.quantize(quantization.quantizers)
    glog.info(quantization.describe(integers))
    if integers:
        glog.info(compute_in_integers(net, quantization))
    if not world.leads:
        return
    written = {}
    if files.calibrated:
        written[Path(files.calibrated)] = format_bits_file(quantization.calibrated()).encode()
    if files.rounded:
        model = quantized_model(net)
        written[Path(files.rounded)] = encode_caffemodel(model, files.rounded)
    write_files(written, force=True)


def _load_weights(net: Executor, names: str) -> None:
    for name in split_weights(names):
        net.load(read_weights(name), name)


def _score_batches(
    net: Executor,
    iterations: int,
    scores: ScoreSums,
    collector: PredictionCollector | None,
    world: World,
) -> None:
    """Test some batches; log and add each one's scores, and its predictions if they are kept."""
    glog.info(f"Running for {iterations} iterations.", "caffe.cpp:281")
    keep = collector.keep if collector is not None else ()
    for index, result in enumerate(tested_batches(net, world, iterations, keep)):
        if collector is not None:
            collector.add(result)
        for name, value in scores.add(result):
            glog.info(f"Batch {index}, {name} = {number_text(value)}", "caffe.cpp:304")


def _log_scores(scores: ScoreSums) -> None:
    if scores.exact:
        glog.info(f"Tested each of {scores.records} records once.")
    glog.info(f"Loss: {number_text(scores.mean_loss())}", "caffe.cpp:309")
    for name, mean, suffix in scores.means():
        glog.info(f"{name} = {number_text(mean)}{suffix}", "caffe.cpp:321")


def _warn_uninitialized(net: Executor) -> None:
    """Warn of layers that keep their fillers' values, which Caffe scores without a word."""
    if net.uninitialized:
        names = ", ".join(sorted(net.uninitialized)[:NAMES_SHOWN])
        names += ", ..." if len(net.uninitialized) > NAMES_SHOWN else ""
        glog.warning(
            f"No weights were given for {len(net.uninitialized)} layers ({names}): the scores are"
            " those of their random initial values"
        )


def _count_iterations(line: CommandLine, net: Executor) -> int:
    """Return `--iterations`, or with `--exact` the batches that read every record once."""
    if not line.on("exact"):
        return line.integer("iterations")
    if "iterations" in line.explicit:
        raise NetError("--exact tests every record once, so it takes no --iterations; give one")
    if not net.loaders:
        raise NetError(
            "--exact needs a Data, ImageData or HDF5Data layer in the TEST phase, whose records it"
            " counts"
        )
    counts = {-(-loader.records // loader.batch_size) for loader in net.loaders.values()}
    if len(counts) > 1:
        raise NetError("--exact: the net's data layers differ in their number of batches")
    return counts.pop()


def time(line: CommandLine, workers: Workers) -> None:
    """Time each layer, forward and backward."""
    if _read_bits(line) is not None:
        raise NetError("time runs no quantized net: simulation takes longer than what it simulates")
    definition = _read_net(line)
    device, gpu = select_device(line)
    _log_device(gpu, "caffe.cpp:339", "caffe.cpp:343")
    phase = line.text("phase") or "TRAIN"
    precision = float_precision(line, gpu)
    log_reading(definition)
    net = open_net(definition, phase, _options(line, precision, device, workers, _new_seed()))
    try:
        if line.text("weights"):
            _load_weights(net, line.text("weights"))
        time_layers(net, line.integer("iterations"))
    finally:
        net.close()


def device_query(line: CommandLine) -> None:
    """Log the properties of GPUs."""
    gpu = line.text("gpu")
    glog.info(f"Querying GPUs {gpu}", "caffe.cpp:138")
    if not gpu or line.on("cpu"):
        return
    numbers = range(torch.cuda.device_count()) if gpu == "all" else [int(select_device(line)[1])]
    for number in numbers:
        properties = torch.cuda.get_device_properties(number)
        rows = (
            ("Device id", number, 178),
            ("Major revision number", properties.major, 179),
            ("Minor revision number", properties.minor, 180),
            ("Name", properties.name, 181),
            ("Total global memory", properties.total_memory, 182),
            ("Number of multiprocessors", properties.multi_processor_count, 199),
        )
        for name, value, place in rows:
            glog.info(f"{name + ':':<31}{value}", f"common.cpp:{place}")
