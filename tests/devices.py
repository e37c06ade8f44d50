"""Tolerances of the engine's results relative to Caffe's, by device and precision.

The fixture `device` is PyTorch's name of a device: `cpu`, and `cuda:0` where there is a GPU, whose
tolerances are the CPU's, widened for other orders of summation. An H100 and an H200 keep to them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

# What `--gpu` sets (engine/device.py), for nets that tests make without the command line.
torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True


@dataclass(frozen=True)
class Tolerance:
    """Relative errors that are allowed, and counts.

    Attributes:
        layer: of the tops and gradients of one layer, against the largest value.
        net: of the outputs of a whole net.
        printed: of a loss in the log of a small training.
        loss: of a loss of the first 20 iterations of a training, or of a test.
        late_loss: of a loss of the iterations 20 to 60.
        weights: of weights after 60 iterations, as a ratio of L2 norms.
        small_weights: of weights and history after 16 iterations of a small net.
        flips: images of 200 that may be classified otherwise.
    """

    layer: float
    net: float = 2e-3
    printed: float = 2e-5
    loss: float = 1e-4
    late_loss: float = 2e-3
    weights: float = 5e-3
    small_weights: float = 1e-4
    flips: int = 0


TOLERANCES = {
    ("cpu", "fp64"): Tolerance(layer=1e-9, loss=1e-5),
    ("cpu", "fp32"): Tolerance(layer=1e-5),
    # Which images flip depends on the processor's bf16 kernels.
    ("cpu", "bf16"): Tolerance(layer=2e-2, loss=5e-3, late_loss=5e-3, weights=2e-2, flips=3),
    ("cuda", "fp64"): Tolerance(layer=1e-9, loss=1e-5),
    ("cuda", "fp32"): Tolerance(
        layer=1e-4,
        net=5e-3,
        printed=1e-4,
        loss=3e-4,
        late_loss=5e-3,
        weights=1e-2,
        small_weights=1e-3,
        flips=1,
    ),
    ("cuda", "bf16"): Tolerance(layer=2e-2, loss=5e-3, late_loss=1e-2, weights=4e-2, flips=3),
}


def tolerance(device: str, precision: str = "fp32") -> Tolerance:
    """Return the tolerances of a device, by PyTorch's name, in a precision."""
    return TOLERANCES[device.partition(":")[0], precision]


def device_flags(device: str) -> tuple[str, ...]:
    """Return the flags of `sqgen-caffe` that choose a device, by PyTorch's name."""
    kind, _, number = device.partition(":")
    return () if kind == "cpu" else (f"--gpu={number}",)
