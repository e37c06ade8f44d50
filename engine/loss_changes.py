"""What changes of a net's numbers do to the loss of each image, to first order.

The mean of their squares, halved, is the divergence to expect from a change (Fisher information):
of one layer alone, and without running the changed net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

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

Quantize = Callable[[torch.Tensor], torch.Tensor]

_PHASE = "TEST"
_WEIGHTS = 0  # the first parameter blob of a layer


class LossChanges(NamedTuple):
    """Of each image, the first-order change of its loss by each change of a layer.

    Attributes:
        weights: layer -> (images, changes) in float64, of its weights.
        bottoms: layer -> likewise, of what it reads.
    """

    weights: dict[str, np.ndarray]
    bottoms: dict[str, np.ndarray]


def loss_changes(
    net: NetDefinition,
    model: NetParameter,
    weights: Mapping[str, np.ndarray],
    bottoms: Mapping[str, Sequence[Quantize]],
    batches: Iterable[np.ndarray],
    seed: int = 0,
) -> LossChanges:
    """Return gradient x change of each image, for changes of weights and of what layers read.

    The loss is the cross entropy to a label that is drawn from the net's own probabilities of the
    image, so that no labels are needed.

    Args:
        net: a deploy net with one input and one output: probabilities, or scores.
        model: its weights.
        weights: layer -> changes of its weights, (changes, *shape).
        bottoms: layer -> functions; a change is what one makes of its first bottom, less that.
        batches: images, (batch, channels, height, width) each.
        seed: of the labels.

    Raises:
        NetError: the net has several outputs, or values that are not finite.
    """
    executor = Executor(net, _PHASE)
    executor.load(model, net.source)
    output = find_output(net, executor)
    random = np.random.default_rng(seed)
    top = executor.inputs.layers[0].tops[0]
    read = _ReadChanges(bottoms)
    rows = {name: changes.reshape(len(changes), -1) for name, changes in weights.items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in rows}
    for image in (image for batch in batches for image in batch):
        tape = executor.forward_on_tape({top: image[None]}, force_backward=True, hooks=[read])
        values = to_array(tape.blobs[output.name].detach())
        start = output_gradient(values, output, random, net.source)
        gradients = tape.backward({output.name: start}, hooks=[read]).parameters
        for name, changes in rows.items():
            # The loss may not depend on a layer.
            gradient = gradients.get((name, _WEIGHTS))
            none = np.zeros(len(changes), np.float32)
            found[name].append(none if gradient is None else changes @ gradient.ravel())
    return LossChanges(
        {name: np.array(each, np.float64) for name, each in found.items()}, read.collect()
    )


class _ReadChanges(Hook):
    """Sums gradient x change of what layers read."""

    def __init__(self, quantize: Mapping[str, Sequence[Quantize]]) -> None:
        self.layers = frozenset(quantize)
        self._quantize = quantize
        self._read: dict[str, torch.Tensor] = {}
        self._found: dict[str, list[np.ndarray]] = {name: [] for name in quantize}

    def before_forward(self, layer: WiredLayer, bottoms: Sequence[torch.Tensor]) -> None:
        """Keep the first bottom."""
        self._read[layer.name] = bottoms[0].detach()

    def after_backward(self, layer: WiredLayer, bottoms: Sequence[torch.Tensor | None]) -> None:
        """Multiply its changes with its gradient."""
        bottom, gradient = self._read.pop(layer.name), bottoms[0]
        functions = self._quantize[layer.name]
        changes = np.zeros(len(functions))
        if gradient is not None:
            flat = gradient.flatten()
            for index, quantize in enumerate(functions):
                changes[index] = float(torch.dot((quantize(bottom) - bottom).flatten(), flat))
        self._found[layer.name].append(changes)

    def collect(self) -> dict[str, np.ndarray]:
        """Return the sums of each layer, (images, changes)."""
        return {name: np.array(rows) for name, rows in self._found.items()}
