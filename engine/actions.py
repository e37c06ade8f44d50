"""What `sqgen-caffe` does: train, test, time, device_query (tools/caffe.cpp)."""

from __future__ import annotations

import os
from typing import Any

import torch

from ..errors import FormatError, NetError
from ..formats.caffemodel import read_caffemodel
from ..formats.files import STDIN
from ..formats.schema import message_class
from ..formats.snapshot_files import complete_prefix
from ..nets.definition import NetDefinition, parse_solver, read_net, read_text
from ..text import printable
from . import glog, memory
from .device import device_of
from .flags import CommandLine
from .loader import EndOfData
from .open_net import Options, open_net
from .signals import Requests
from .snapshots import resume_state_of
from .solver import Scores, Solver, file_names
from .timing import time_layers
from .workers import Workers

SEED_BITS = 62
SHOWN = 5  # names in a list


def run(action: str, line: CommandLine) -> None:
    """Do one action.

    Raises:
        SqgenError: what was given is not what it should be.
    """
    memory.keep_freed_memory()
    if line.text("precision") == "bf16" and not _has_fast_bf16():
        glog.warning("this processor has no bf16 instructions: bf16 is slower than fp32 here")
    {"train": train, "test": test, "time": time, "device_query": device_query}[action](line)


def _has_fast_bf16() -> bool:
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return torch.cuda.is_available() or (supported is not None and bool(supported()))


def _options(line: CommandLine, device: str, seed: int) -> Options:
    workers = Workers(line.number("threads") or None)
    torch.set_num_threads(workers.threads)
    return Options(line.text("precision"), device, workers, seed, line.on("exact"))


def _new_seed() -> int:
    return int.from_bytes(os.urandom(8), "little") >> (64 - SEED_BITS)


def _required(line: CommandLine, flag: str, message: str) -> str:
    value = line.text(flag)
    if not value:
        raise NetError(f"{message} Give --{flag}=FILE")
    return value


def _net_in_state(line: CommandLine) -> NetDefinition:
    """The net of `--model`, at the level and in the stages that the flags say."""
    net = read_net(_required(line, "model", "Need a model definition."))
    state = message_class("NetState")(stage=line.text("stage").split(","))
    return net.in_state(state, line.number("level"))


def train(line: CommandLine) -> None:
    """Train or fine-tune a net."""
    path = _required(line, "solver", "Need a solver definition to train.")
    snapshot, weights = line.text("snapshot"), line.text("weights")
    if snapshot and weights:
        raise NetError(
            "Give a snapshot to resume training or weights to finetune but not both"
            " (--snapshot, --weights)"
        )
    if snapshot.endswith(".h5"):
        raise FormatError(
            f"{printable(snapshot)}: is HDF5, which is not supported; give the .solverstate"
        )
    warnings: list[str] = []
    text, source = read_text(path)
    solver = parse_solver(text, source, warnings)
    for warning in warnings:
        glog.warning(warning)
    completed = complete_prefix(solver, "" if path == STDIN else path)
    if completed:
        glog.info(completed, "upgrade_proto.cpp:1109")
    solver.train_state.level = line.number("level")
    solver.train_state.stage.extend(line.text("stage").split(","))
    device, gpu = device_of(line, solver, printable(source))
    _log_training_device(solver, gpu)
    if snapshot or weights:
        del solver.weights[:]
    if weights:
        solver.weights.append(weights)
    with Requests(line.text("sigint_effect"), line.text("sighup_effect")) as requests:
        seed = _seed(solver, snapshot)
        run = Solver(solver, source, _options(line, device, seed), requests.next)
        try:
            if snapshot:
                glog.info(f"Resuming from {snapshot}", "caffe.cpp:235")
                run.restore(snapshot)
            glog.info("Starting Optimization", "caffe.cpp:239")
            run.solve()
            glog.info("Optimization Done.", "caffe.cpp:250")
        finally:
            run.close()


def _seed(solver: Any, snapshot: str) -> int:
    """The solver's, the one of the run that is resumed, or a new one."""
    position = resume_state_of(snapshot) if snapshot else None
    if position is not None:
        return position.seed
    return int(solver.random_seed) if solver.random_seed >= 0 else _new_seed()


def _log_training_device(solver: Any, gpu: str) -> None:
    if gpu:
        glog.info(f"Using GPUs {gpu}", "caffe.cpp:204")
        glog.info(f"GPU {gpu}: {torch.cuda.get_device_name(int(gpu))}", "caffe.cpp:209")
        solver.device_id = int(gpu)
    else:
        glog.info("Use CPU.", "caffe.cpp:197")


def _log_device(gpu: str, place: int) -> None:
    if gpu:
        glog.info(f"Use GPU with device ID {gpu}", f"caffe.cpp:{place - 9}")
        glog.info(f"GPU device name: {torch.cuda.get_device_name(int(gpu))}", "caffe.cpp:270")
    else:
        glog.info("Use CPU.", f"caffe.cpp:{place}")


def test(line: CommandLine) -> None:
    """Score a net, batch by batch."""
    definition = _net_in_state(line)
    weights = _required(line, "weights", "Need model weights to score.")
    device, gpu = device_of(line)
    _log_device(gpu, 275)
    net = open_net(definition, "TEST", _options(line, device, _new_seed()))
    try:
        for name in file_names(weights):
            net.load(read_caffemodel(name), name)
        _warn_of_fresh(net)
        if not net.loaders and any(layer.type == "Input" for layer in net.inputs.layers):
            glog.warning("the net reads no data, its inputs are zeros; use the train_val net")
        iterations = _batches(line, net)
        glog.info(f"Running for {iterations} iterations.", "caffe.cpp:281")
        scores = Scores(net)
        images = 0
        for index in range(iterations):
            result = net.test_batch()
            images += result.records
            share = float(result.records) if line.on("exact") else 1.0
            for name, value in scores.add(result, share):
                glog.info(f"Batch {index}, {name} = {glog.number(value)}", "caffe.cpp:304")
    except EndOfData:
        raise NetError("the data ended early; its number of records changed") from None
    finally:
        net.close()
    if not iterations:
        return
    if line.on("exact"):
        glog.info(f"Tested each of {images} records once.")
    glog.info(f"Loss: {glog.number(scores.mean_loss())}", "caffe.cpp:309")
    for name, mean, note in scores.means():
        glog.info(f"{name} = {glog.number(mean)}{note}", "caffe.cpp:321")


def _warn_of_fresh(net: Any) -> None:
    """Caffe scores what its fillers drew, and says nothing."""
    if net.uninitialized:
        names = ", ".join(sorted(net.uninitialized)[:SHOWN])
        names += ", ..." if len(net.uninitialized) > SHOWN else ""
        glog.warning(
            f"No weights were given for {len(net.uninitialized)} layers ({names}): the scores are"
            " those of their random start values"
        )


def _batches(line: CommandLine, net: Any) -> int:
    """Iterations asked for; with --exact, as many as read every record once."""
    if not line.on("exact"):
        return line.number("iterations")
    if "iterations" in line.given:
        raise NetError("--exact tests every record once, so it takes no --iterations; give one")
    if not net.loaders:
        raise NetError(
            "--exact needs a Data or ImageData layer in the TEST phase, whose records it counts"
        )
    counts: set[int] = {-(-source.records // source.batch_size) for source in net.loaders.values()}
    if len(counts) > 1:
        raise NetError("--exact: the net's data layers differ in their number of batches")
    return counts.pop()


def time(line: CommandLine) -> None:
    """Time each layer, forward and backward."""
    definition = _net_in_state(line)
    device, gpu = device_of(line)
    _log_device(gpu, 343)
    phase = line.text("phase") or "TRAIN"
    net = open_net(definition, phase, _options(line, device, _new_seed()))
    try:
        if line.text("weights"):
            for name in file_names(line.text("weights")):
                net.load(read_caffemodel(name), name)
        time_layers(net, line.number("iterations"))
    finally:
        net.close()


def device_query(line: CommandLine) -> None:
    """Say what the GPU is."""
    asked = line.text("gpu")
    glog.info(f"Querying GPUs {asked}", "caffe.cpp:138")
    if not asked or line.on("cpu"):
        return
    numbers = range(torch.cuda.device_count()) if asked == "all" else [int(device_of(line)[1])]
    for number in numbers:
        found = torch.cuda.get_device_properties(number)
        rows = (
            ("Device id", number),
            ("Major revision number", found.major),
            ("Minor revision number", found.minor),
            ("Name", found.name),
            ("Total global memory", found.total_memory),
            ("Number of multiprocessors", found.multi_processor_count),
        )
        for name, value in rows:
            glog.info(f"{name + ':':<31}{value}", "common.cpp:187")
