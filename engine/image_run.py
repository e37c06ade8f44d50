"""A net on the same images, run again and again with other weights and other quantizers.

run = ImageRun(net, images)
histograms = run.histograms(model, layers)  # once, for any number of bits
settings = QuantizerSettings()
for bits in range(2, 9):
    limits = activation_range(histograms["conv2"], bits, settings)
    quantizers = {"conv2": activation_quantizer(limits, bits, settings)}
    probabilities = run.probabilities(model, quantizers)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..formats.schema import NetParameter
from ..nets.definition import NetDefinition
from .calibration import observe_bottoms
from .executor import Executor
from .histograms import Histogram
from .probabilities import find_output
from .quantizers import LayerQuantizers

if TYPE_CHECKING:
    from .input_images import InputImages


class ImageRun:
    """A net, set up once, and images.

    Args:
        net: a deploy net with one input and one output: probabilities, or scores.
        images: as it reads them.

    Raises:
        NetError: the net has several outputs.
    """

    def __init__(self, net: NetDefinition, images: InputImages) -> None:
        self._images, self._source = images, net.source
        self._executor = Executor(net, "TEST")
        self._output = find_output(net, self._executor)
        self._input = self._executor.inputs.layers[0].tops[0]

    def probabilities(
        self,
        model: NetParameter,
        bottoms: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] | None = None,
    ) -> np.ndarray:
        """Return the probabilities of each image, (images, classes) in float64.

        Args:
            model: the weights, as they are to compute.
            bottoms: layer -> the quantizer of what it reads.
        """
        self._executor.load(model, self._source)
        self._executor.quantize(LayerQuantizers(bottoms=dict(bottoms or {})))
        parts = [self._forward(batch) for batch in self._images.batches]
        return self._output.probabilities(np.concatenate(parts))

    def histograms(self, model: NetParameter, layers: Iterable[str]) -> dict[str, Histogram]:
        """Return layer -> the histogram of what it reads of all images.

        Raises:
            NetError: a layer reads nan or infinite numbers.
        """
        self._executor.load(model, self._source)

        def run() -> None:
            for batch in self._images.batches:
                self._forward(batch)

        return observe_bottoms(self._executor, layers, run)

    def _forward(self, batch: np.ndarray) -> np.ndarray:
        return self._executor.forward({self._input: batch})[self._output.name]
