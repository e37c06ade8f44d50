"""Quantized nets on several devices: the bits of one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sqgen.compress.bits_file import read_bits_file

from .ranks import run_ranks
from .small_training import POOL1, RANDOM, RELU1, data, final, messages, net, run_messages
from .test_distributed import RESUMED, TEST, folder, place, train

__all__ = ["folder"]  # a fixture
UNIFORM = """
"*" = 4
[activations]
"*" = 6
[quantizer]
weights = "symmetric"
channels = true
activation_range = "max"
images = 13
"""
SHARED = '"conv*" = 2\n[activations]\n"ip" = 5\n[quantizer]\nweights = "shared"\nimages = 9\n'
BITS = "s_iter_6.bits.toml"
RUN = "momentum: 0.9 max_iter: 6 snapshot: 3 "


def quantized(folder: Path, name: str, text: str, bits: str) -> Path:
    made = place(folder, name, text, RUN)
    (made / "bits.toml").write_text(bits)
    return made


@pytest.mark.parametrize("bits", [UNIFORM, SHARED], ids=["uniform", "shared"])
def test_ranks_learn_and_calibrate_as_one_process(bits: str, folder: Path) -> None:
    """Two ranks with batches of 3 find ranges on the images of one with batches of 6.

    With average pooling: of equal products of few weights, rounding decides which is the largest.
    """
    ends = []
    for size in (1, 2):
        inputs = data("TRAIN", 6 // size, RANDOM) + TEST
        text = net(inputs=inputs, middle=RELU1 + POOL1.replace("MAX", "AVE"))
        made = quantized(folder, f"as-one{len(bits)}-{size}", text, bits)
        train(size, made, "--quantize=bits.toml", "--precision=fp64")
        ends.append((final(made), read_bits_file(str(made / BITS))))
    (one, found), (two, again) = ends
    for name, values in one.items():
        assert np.allclose(values, two[name], rtol=1e-5, atol=1e-9), name
    assert found.ranges.keys() == again.ranges.keys() != set()
    for name, limits in found.ranges.items():
        assert limits == pytest.approx(again.ranges[name], rel=1e-12)
    assert {name: len(values) for name, values in found.values.items()} == {
        name: len(values) for name, values in again.values.items()
    }


@pytest.mark.parametrize("bits", [UNIFORM, SHARED], ids=["uniform", "shared"])
def test_any_number_of_ranks_that_divides_computes_the_same_bits(bits: str, folder: Path) -> None:
    """Four shards, whole batches with BatchNorm, by four ranks; then resumed by four, two and one.

    The bits come with the snapshot.
    """
    made = quantized(folder, f"same-bits{len(bits)}", RESUMED, bits)
    log = run_messages(train(4, made, "--quantize=bits.toml")[0])
    rest = log[next(i for i, line in enumerate(log) if line.startswith("Iteration 3, Testing")) :]
    wanted, file = final(made), (made / BITS).read_bytes()
    for ranks in (4, 2, 1):
        resumed = train(ranks, made, "--snapshot=s_iter_3.solverstate")[0]
        assert "Resuming exactly" in "\n".join(messages(resumed))
        for name, values in final(made).items():
            assert np.array_equal(values, wanted[name]), (ranks, name)
        assert (made / BITS).read_bytes() == file
        losses = [[x for x in each if "loss" in x] for each in (run_messages(resumed), rest)]
        assert losses[0] == losses[1]


def test_ranks_score_as_one_process(folder: Path) -> None:
    """To the last digit, with the ranges of the same images: 64 records in batches of 10."""
    made = quantized(folder, "scores", net(inputs=data("TRAIN", 3) + data("TEST", 10)), UNIFORM)
    words = ["test", "--model=net.prototxt", "--weights=start.caffemodel", "--exact"]
    told = []
    for size in (1, 2, 3):
        more = ["--quantize=bits.toml", f"--calibrated={size}.toml", f"--rounded={size}.caffemodel"]
        ranks = run_ranks(size, [*words, *more, "--threads=1"], made)
        assert [code for code, _ in ranks] == [0] * size, ranks
        told.append(run_messages(ranks[0][1]))
        assert told[-1] == told[0]
        for name in ("toml", "caffemodel"):
            assert (made / f"{size}.{name}").read_bytes() == (made / f"1.{name}").read_bytes()
    assert any("accuracy" in line or "loss" in line for line in told[0])


def test_ranks_with_other_bits_are_refused(folder: Path) -> None:
    made = quantized(folder, "refused", net(inputs=data("TRAIN", 3) + TEST), UNIFORM)
    for code, log in run_ranks(2, ["train", "--solver=solver.prototxt"], made, {1: ["--bits=4"]}):
        assert code == 2
        assert "rank 1 has another quantization than rank 0" in log


@pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="int8 runs on AVX2"
)
def test_ranks_that_compute_in_integers_and_in_floats_are_refused(folder: Path) -> None:
    made = quantized(folder, "mixed", net(inputs=data("TRAIN", 3) + data("TEST", 8)), UNIFORM)
    words = ["test", "--model=net.prototxt", "--weights=start.caffemodel", "--iterations=1"]
    for code, log in run_ranks(2, [*words, "--precision=int8"], made, {1: ["--precision=fp32"]}):
        assert code == 2
        assert "rank 1 has another precision than rank 0: fp32, not int8 with" in log
