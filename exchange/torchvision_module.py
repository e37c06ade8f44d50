"""torchvision's SqueezeNet on PyTorch, to prove converted weights by what they compute.

Written from the names and operations of its state dicts (torchvision/models/squeezenet.py): the
modules load such a state dict whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..engine.equivalence import load_engine, run_graph
from ..errors import NetError
from ..generator.design import Design
from ..generator.fire import Fire
from ..nets.inference_graph import inference_graph
from ..weights.net_arrays import Arrays
from .known_nets import FEATURES, KnownNet
from .normalization import Normalization

_STEM_KERNELS = {"1.0": 7, "1.1": 3}
_IMAGES = 2
_BLIND = 1e-3  # of the largest score: biases alone
EXACT, ROUNDED = 1e-9, 1e-5  # tolerances, relative to the largest score; ROUNDED: folded float32


class TorchProof(NamedTuple):
    """The outcome of a comparison of both nets' scores.

    Attributes:
        images: how many random images of which size, as (images, channels, height, width).
        largest: the largest difference, relative to the largest score.
        blind: whether all images have nearly the same scores, which proves little.
    """

    images: tuple[int, ...]
    largest: float
    blind: bool


class _FireModule(nn.Module):
    def __init__(self, fire: Fire) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(fire.inputs, fire.squeeze, 1)
        self.expand1x1 = nn.Conv2d(fire.squeeze, fire.expand1x1, 1)
        self.expand3x3 = nn.Conv2d(fire.squeeze, fire.expand3x3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], 1)


class SqueezeNet(nn.Module):
    """torchvision's squeezenet1_0 or squeezenet1_1 for evaluation."""

    def __init__(self, known: KnownNet) -> None:
        super().__init__()
        design = known.design
        words = FEATURES[design.version]
        self.features = nn.Sequential(*(_feature(word, design) for word in words))
        convolution = nn.Conv2d(design.fire_filters[-1].outputs, design.classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(), convolution, nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores (batch, classes) of a batch (batch, 3, height, width)."""
        scores: torch.Tensor = self.classifier(self.features(x)).mean((2, 3))
        return scores


def _feature(word: str, design: Design) -> nn.Module:
    if word == "conv":
        kernel = _STEM_KERNELS[design.version]
        return nn.Conv2d(3, design.conv1_filters, kernel, stride=2)
    if word == "relu":
        return nn.ReLU()
    if word == "pool":
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return _FireModule(design.fire_filters[int(word) - design.modules[0]])


def prove_torchvision(
    known: KnownNet,
    state: Mapping[str, np.ndarray],
    arrays: Arrays,
    inputs: tuple[Normalization, Normalization],
    tolerance: float,
) -> TorchProof:
    """Run torchvision's net on PyTorch, and the Caffe net on the engine, on the same random images.

    Args:
        known: torchvision's net.
        state: its state dict.
        arrays: name of a layer of the Caffe net -> its blobs.
        inputs: what each of the two takes.
        tolerance: `EXACT`, or `ROUNDED` where one of them has been folded.

    Raises:
        NetError: scores differ by more, or are not finite.
    """
    size = known.design.size
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (_IMAGES, 3, size, size)).astype(np.float64)
    theirs = _run_module(known, state, inputs[0].apply(pixels))
    graph = inference_graph(known.net())
    (name,), (output,) = graph.inputs, graph.outputs
    blobs = [{name: np.ascontiguousarray(inputs[1].apply(pixels))}]
    scores = run_graph(load_engine(), graph, graph.layers, arrays, blobs, [output])[0]
    ours = scores.reshape(theirs.shape)
    largest = float(np.abs(ours - theirs).max()) / (float(np.abs(theirs).max()) or 1.0)
    if not largest <= tolerance:  # nan is not either
        raise NetError(
            f"{known.name} and its Caffe net differ: scores of random images by {largest:.1e} of"
            " the largest; inspect the weights with sqgen weights show"
        )
    blind = np.ptp(theirs, axis=0).max() <= _BLIND * np.abs(theirs).max()
    return TorchProof(pixels.shape, largest, bool(blind))


def _run_module(known: KnownNet, state: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    module = SqueezeNet(known).double().eval()
    tensors = {name: torch.from_numpy(np.array(array, np.float64)) for name, array in state.items()}
    module.load_state_dict(tensors)
    with torch.inference_mode():
        scores: np.ndarray = module(torch.from_numpy(np.ascontiguousarray(images))).numpy()
    return scores
