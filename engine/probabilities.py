"""The probabilities that a net with one output gives of images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..text import first_few, printable
from .executor import Executor


class ClassOutput(NamedTuple):
    """The one output of a classifier.

    Attributes:
        name: of the blob.
        is_softmax: whether it has probabilities; else it has scores.
    """

    name: str
    is_softmax: bool

    def probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return the probabilities of each image, (images, classes) in float64.

        Args:
            values: of the output, (images, ...).
        """
        flat = values.reshape(len(values), -1).astype(np.float64)
        return flat if self.is_softmax else _softmax(flat)


def find_output(net: NetDefinition, executor: Executor) -> ClassOutput:
    """Return the output of a net.

    Args:
        net: a deploy net.
        executor: runs it.

    Raises:
        NetError: it has several.
    """
    if len(executor.outputs) != 1:
        shown = first_few(executor.outputs)
        raise NetError(f"{printable(net.source)}: has outputs {shown}; only one can be compared")
    name = executor.outputs[0]
    maker = [layer for layer in net.layers(executor.phase) if name in layer.top][-1]
    return ClassOutput(name, maker.type == "Softmax")


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(1, keepdims=True)
    return shares
