"""Gradients of the loss by channels: what the loss does where a layer's filter fades."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from .executor import Executor
from .hooks import Hook
from .label_gradients import output_gradient
from .probabilities import find_output
from .tensors import to_array
from .wiring import WiredLayer

_AT_ONCE = 16  # images on a tape, which keeps what all layers compute
_PHASE = "TEST"


def gate_gradients(
    net: NetDefinition,
    model: NetParameter,
    layers: Iterable[str],
    batches: Iterable[np.ndarray],
    seed: int = 0,
    precision: str = "fp32",
) -> dict[str, np.ndarray]:
    """Return layer -> the gradient of each image's loss by a factor on each channel of its top.

    Of (images, channels) each, in float64: the sum over positions of activation x gradient. The
    loss is the cross entropy to a label that is drawn from the net's own probabilities of the
    image: with those, the mean of squares is the Fisher information, and no labels are needed. (To
    the net's own probabilities themselves, the gradient of the loss is zero.)

    Args:
        net: a deploy net with one input and one output: probabilities, or scores.
        model: its weights.
        layers: names of layers; channels are on axis 1 of their first tops.
        batches: images, (batch, channels, height, width) each.
        seed: of the labels.
        precision: fp32, or fp64.

    Raises:
        NetError: the net has several outputs, or values that are not finite.
    """
    executor = Executor(net, _PHASE, precision=precision)
    executor.load(model, net.source)
    output = find_output(net, executor)
    random = np.random.default_rng(seed)
    top = executor.inputs.layers[0].tops[0]
    gates = _Gates(layers)
    for images in _parts(batches):
        tape = executor.forward_on_tape({top: images}, force_backward=True, hooks=[gates])
        values = to_array(tape.blobs[output.name].detach())
        gradient = output_gradient(values, output, random, net.source)
        tape.backward({output.name: gradient}, hooks=[gates])
    return gates.collect()


def _parts(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for batch in batches:
        for first in range(0, len(batch), _AT_ONCE):
            yield batch[first : first + _AT_ONCE]


class _Gates(Hook):
    """Sums activation x gradient of layers' tops over positions."""

    def __init__(self, layers: Iterable[str]) -> None:
        self.layers = frozenset(layers)
        self._tops: dict[str, torch.Tensor] = {}
        self._sums: dict[str, list[np.ndarray]] = {name: [] for name in sorted(self.layers)}

    def after_forward(self, layer: WiredLayer, tops: Sequence[torch.Tensor]) -> None:
        """Keep the top."""
        self._tops[layer.name] = tops[0].detach()

    def before_backward(self, layer: WiredLayer, tops: Sequence[torch.Tensor | None]) -> None:
        """Multiply it with its gradient; without one, the loss does not depend on it."""
        top, gradient = self._tops.pop(layer.name), tops[0]
        product = torch.zeros_like(top) if gradient is None else top * gradient
        sums = product.double().reshape(*product.shape[:2], -1).sum(2)
        self._sums[layer.name].append(sums.numpy())

    def collect(self) -> dict[str, np.ndarray]:
        """Return the sums of each layer that a gradient has reached."""
        return {name: np.concatenate(parts) for name, parts in self._sums.items() if parts}
