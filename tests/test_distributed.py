"""Training by several processes: what it computes, and what becomes of it on resume."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from sqgen.compress.bits_file import BitsFile, QuantizerSettings
from sqgen.engine.distributed import exchange
from sqgen.engine.distributed.shards import Shards
from sqgen.engine.distributed.world import World
from sqgen.engine.open_net import EngineOptions, open_net
from sqgen.engine.parameters import Parameter
from sqgen.engine.quantization import Quantization
from sqgen.engine.workers import Workers
from sqgen.nets.definition import parse_net

from .databases import make_lmdb
from .ranks import run_ranks
from .small_training import (
    POOL1,
    RANDOM,
    RELU1,
    accuracy,
    batch_norm,
    data,
    dropout,
    final,
    loss,
    make_run,
    messages,
    net,
    parsed,
    records,
    run_messages,
    write_data,
)

COMMON = (
    'net: "net.prototxt" weights: "start.caffemodel" snapshot_prefix: "s" solver_mode: CPU'
    " display: 1 base_lr: 0.02 lr_policy: 'fixed' weight_decay: 0.01 random_seed: 8"
    " test_iter: 2 test_interval: 3 "
)
SOLVERS = {
    "SGD": "momentum: 0.9 max_iter: 6 ",
    "Adam": 'type: "Adam" momentum: 0.9 max_iter: 6 iter_size: 2 ',
    "clipped": 'type: "Nesterov" momentum: 0.9 max_iter: 6 clip_gradients: 0.05 ',
}
TRAIN = ("train", "--solver=solver.prototxt", "--threads=1")
TEST = data("TEST", 8)
RESUMED = net(
    inputs=data("TRAIN", 3, RANDOM) + TEST,
    middle=batch_norm("conv1") + RELU1 + POOL1 + dropout("pool1"),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("distributed")
    write_data(made)
    return made


def place(folder: Path, name: str, text: str, solver: str) -> Path:
    return make_run(folder, name, text, COMMON + solver)


def train(size: int, folder: Path, *flags: str) -> list[str]:
    """Train by ranks; the logs."""
    ranks = run_ranks(size, [*TRAIN, *flags], folder)
    assert [code for code, _ in ranks] == [0] * size, ranks
    return [log for _, log in ranks]


def trained(folder: Path, name: str, size: int, batch: int, solver: str, **flags: str) -> Path:
    """Train a net on batches of this size."""
    text = net(inputs=data("TRAIN", batch, RANDOM) + TEST)
    made = place(folder, name, text, SOLVERS[solver])
    train(size, made, *(f"--{name}={value}" for name, value in flags.items()))
    return made


@pytest.mark.parametrize("solver", SOLVERS)
def test_several_workers_learn_as_one_with_their_batches_together(
    solver: str, folder: Path
) -> None:
    one = final(trained(folder, f"{solver}1", 1, 6, solver, precision="fp64"))
    two = final(trained(folder, f"{solver}2", 2, 3, solver, precision="fp64"))
    for name, values in one.items():
        assert np.allclose(values, two[name], rtol=1e-5, atol=1e-9), name


def test_the_log_is_that_of_the_first_worker(folder: Path) -> None:
    made = place(folder, "log", net(inputs=data("TRAIN", 3, RANDOM) + TEST), SOLVERS["SGD"])
    first, second = train(2, made)
    assert "Effective batch size: 6 = 3 (batch_size) x 1 (iter_size) x 2 (workers)" in first
    assert "Iteration 3, Testing net (#0)" in first
    assert "Testing net" not in second
    assert "Snapshotting" not in second
    # The first loss is of records 0, 2 and 4.
    alone = place(folder, "alone", net(inputs=data("TRAIN", 6, RANDOM) + TEST), SOLVERS["SGD"])
    (whole,) = train(1, alone)
    losses = [re.findall(r"Iteration 0 .*loss = (\S+)", log)[0] for log in (first, whole)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("numbers", [1, 200])
def test_buckets_leave_the_sums_as_they_are(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients given early, late or not at all, in any order, in many buckets or in few."""
    monkeypatch.setattr(exchange, "BUCKET", numbers)
    random = np.random.default_rng(3)
    shapes = [(6, 3, 3, 3), (6,), (4, 6, 3, 3), (4,), (5, 4), (5,)]
    parameters = [
        Parameter("layer", index, torch.zeros(shape), 1, 1) for index, shape in enumerate(shapes)
    ]
    shards = Shards(3, range(3))
    summing = exchange.GradientExchange(World(), shards, parameters)
    for _ in range(2):  # the buffers are used again
        drawn = [[torch.from_numpy(random.normal(size=s)).float() for s in shapes] for _ in "abc"]
        given: list[list[torch.Tensor | None]] = [[*each] for each in drawn]
        given[1][3] = None
        wanted = [(a + b + c) * (1 / 3) for a, b, c in zip(*drawn, strict=True)]
        wanted[3] = (drawn[0][3] + drawn[2][3]) * (1 / 3)
        running = summing.begin()
        running.give(0, dict(enumerate(given[0])))
        for place, number in ((2, 5), (1, 4), (1, 5), (2, 4), (2, 0), (1, 3)):
            running.give(place, {number: given[place][number]})
        asked = running.finish(given, exchange.Requests(snapshot=True))
        assert asked == exchange.Requests(snapshot=True)
        for parameter, mean in zip(parameters, wanted, strict=True):
            assert parameter.grad is not None
            assert torch.equal(parameter.grad, mean)


@pytest.mark.parametrize("bits", [None, 2])
@pytest.mark.parametrize("whole", [True, False])
def test_gradients_are_told_before_the_batch_ends(
    whole: bool, bits: int | None, folder: Path
) -> None:
    """Of quantized weights as they are added up: cut where a weight is out of its range."""
    text = net(middle=(batch_norm("conv1") if whole else "") + RELU1 + POOL1)
    definition = parse_net(text.replace("../data", f"{folder}/data"))
    opened = open_net(definition, "TRAIN", EngineOptions("fp32", "cpu", Workers(1), 1))
    if bits is not None:
        file = BitsFile(quantizer=QuantizerSettings("symmetric")).with_default_bits(bits, None)
        quantization = Quantization(file, opened, trains=True)
        quantization.start()
        opened.quantize(quantization.quantizers)
    told: dict[int, torch.Tensor] = {}
    opened.train_batch(on_gradient=lambda number, gradient: told.update({number: gradient.clone()}))
    opened.close()
    learned = [each for each in opened.parameters.unique if each.learned]
    assert sorted(told) == (list(range(len(learned))) if whole else [])
    for number, gradient in told.items():
        summed = learned[number].grad
        assert summed is not None
        assert torch.equal(gradient, summed)


@pytest.mark.parametrize("before", [1, 2, 4])
def test_any_number_of_workers_that_divides_computes_the_same_bits(
    before: int, folder: Path
) -> None:
    """Four shards, by four processes, by two, and by one, from any snapshot of any of them."""
    solver = "momentum: 0.9 max_iter: 6 snapshot: 3 iter_size: 2 "
    made = place(folder, f"bits{before}", RESUMED, solver)
    logs = train(4, made)
    wanted, log = final(made), run_messages(logs[0])
    rest = log[next(i for i, line in enumerate(log) if line.startswith("Iteration 3, Testing")) :]
    resumed = train(before, made, "--snapshot=s_iter_3.solverstate")
    found = final(made)
    for name, values in wanted.items():
        assert np.array_equal(values, found[name]), name
    said = "\n".join(messages(resumed[0]))
    assert "Resuming exactly" in said
    assert (f"Computing the batches of 4 workers by {before}" in said) == (before != 4)
    assert [x for x in run_messages(resumed[0]) if "loss" in x] == [x for x in rest if "loss" in x]


def test_another_number_of_workers_goes_on_with_the_next_record(folder: Path) -> None:
    made = place(folder, "other", RESUMED, "max_iter: 4 snapshot: 2 test_initialization: false ")
    train(2, made)
    logs = train(3, made, "--snapshot=s_iter_2.solverstate")
    said = "Resuming with 3 workers instead of 2: each iteration now learns from 3 batches"
    assert said in logs[0]


def test_a_run_repeats_bit_for_bit(folder: Path) -> None:
    ends = []
    for name in ("once", "again"):
        made = place(folder, name, RESUMED, "momentum: 0.9 max_iter: 4 ")
        train(3, made)
        ends.append(final(made))
    for name, values in ends[0].items():
        assert np.array_equal(values, ends[1][name])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            ("net", 'name: "conv2" type', 'name: "conv2b" type'),
            "rank 1 has another net than rank 0",
        ),
        (("solver", "base_lr: 0.02", "base_lr: 0.01"), "rank 1 has another solver than rank 0"),
    ],
)
def test_ranks_of_different_runs_are_refused(
    change: tuple[str, str, str], named: str, folder: Path
) -> None:
    made = place(folder, f"refused-{change[0]}", net(scores=loss() + accuracy()), SOLVERS["SGD"])
    file, old, new = change
    text = (made / f"{file}.prototxt").read_text()
    assert old in text
    (made / f"{file}2.prototxt").write_text(text.replace(old, new))
    (made / "solver1.prototxt").write_text(
        (made / "solver.prototxt").read_text().replace('"net.prototxt"', '"net2.prototxt"')
        if file == "net"
        else (made / "solver2.prototxt").read_text()
    )
    ranks = run_ranks(2, TRAIN, made, {1: ["--solver=solver1.prototxt"]})
    for code, log in ranks:
        assert code == 2
        assert named in log
        assert log.count("F1") == 1
    assert not list(made.glob("s_iter*"))


def test_an_unreadable_record_ends_all_with_what_was_learned(folder: Path) -> None:
    """Of batches of 4, record 21 is in the third of rank 1; the sample of 64 leaves it out."""
    values = 3 * records()[:44]
    values[21] = values[21][: len(values[21]) // 2]
    make_lmdb(folder / "damaged", values)
    text = net(inputs=data("TRAIN", 4).replace("../data", "../damaged") + TEST)
    made = place(folder, "unreadable", text, SOLVERS["SGD"])
    (code0, log0), (code1, log1) = run_ranks(2, TRAIN, made)
    assert (code0, code1) == (7, 2), (log0, log1)
    assert "record 21" in log1
    assert "another rank ended with an error" in log0
    assert (made / "s_iter_2.solverstate").exists()
    read = parsed(log0)  # no signal asked for it
    assert (read.snapshots, read.signals) == (("s_iter_2.caffemodel",), ())


@pytest.mark.parametrize("exact", [("--exact",), ("--iterations=5",)])
def test_workers_score_as_one_process(exact: tuple[str, ...], folder: Path) -> None:
    """To the last digit printed, and each prediction: 64 records in batches of 10."""
    text = net(inputs=data("TRAIN", 3) + data("TEST", 10), scores=loss() + accuracy())
    made = place(folder, f"test{len(exact[0])}", text, "")
    words = ["test", "--model=net.prototxt", "--weights=start.caffemodel", "--threads=1", *exact]
    told = []
    for size in (1, 2, 3):
        ranks = run_ranks(size, [*words, f"--predictions=p{size}.csv"], made)
        assert [code for code, _ in ranks] == [0] * size, ranks
        told.append([x for x in run_messages(ranks[0][1]) if "Predictions" not in x])
        assert len(told[0]) > 10
        assert told[-1] == told[0]
        assert (made / f"p{size}.csv").read_text() == (made / "p1.csv").read_text()


def test_ranks_part_after_their_group_was_aborted() -> None:
    """As NCCL's is, where a rank was lost: the error that said so is the one that counts."""
    world = World()
    world._store = object()
    world.close()
