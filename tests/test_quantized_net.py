"""A quantized net computes what the definitions say: forward, and straight-through gradients.

The reference is NumPy in double: Caffe's layers (`reference_layers.py`), and quantizers written
anew here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from sqgen import NetError, parse_net
from sqgen.compress.bits_file import BitsFile, QuantizerSettings
from sqgen.formats.caffemodel import blob_array

from . import reference_layers
from .small_nets import conv, layer, net_input, random_model

torch = pytest.importorskip("torch", reason="needs PyTorch, the extra sqgen[engine]")

from sqgen.engine import memory  # noqa: E402
from sqgen.engine.executor import Executor  # noqa: E402
from sqgen.engine.quantization import Quantization, quantized_model  # noqa: E402
from sqgen.engine.quantizers import LayerQuantizers, symmetric  # noqa: E402
from sqgen.engine.workers import Workers  # noqa: E402

Array = np.ndarray[Any, Any]

DECONVOLUTION = "convolution_param { num_output: 4 kernel_size: 2 stride: 2 group: 2 }"
INNER_PRODUCT = "inner_product_param { num_output: 5 %s weight_filler { type: 'xavier' } }"
POOLING = "pooling_param { pool: AVE kernel_size: 2 stride: 2 }"  # MAX has ties, of few values
LABELS = 'layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 1 } } }\n'
NET = (
    net_input(3, 8, 6)
    + LABELS
    + conv("conv1", "data", 6, 3)
    + layer("ReLU", "relu1", "conv1")
    + layer("Pooling", "pool", "relu1", rest=POOLING)
    + conv("squeeze", "pool", 4)
    + layer("ReLU", "relu2", "squeeze")
    + conv("left", "relu2", 3)
    + conv("right", "relu2", 3, 3)
    + layer("Concat", "cat", "left right")
    + conv("after", "cat", 4)
    + layer("Deconvolution", "up", "after", rest=DECONVOLUTION)
    + layer("InnerProduct", "ip", "up", rest=INNER_PRODUCT % "")
    + layer("InnerProduct", "last", "ip", rest=INNER_PRODUCT % "transpose: true")
    + layer("SoftmaxWithLoss", "loss", "last label")
)
WEIGHTED = ("conv1", "squeeze", "left", "right", "after", "up", "ip", "last")


class Step(NamedTuple):
    """A uniform quantizer, in NumPy."""

    step: Array
    zero: Array
    lowest: int
    highest: int

    @classmethod
    def of(cls, kind: str, low: Any, high: Any, bits: int, signed: bool) -> Step:
        if kind == "asymmetric":
            low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
            step = (high - low) / (2**bits - 1)
            return cls(step, np.round(-low / step), 0, 2**bits - 1)
        most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
        limit = np.maximum(-np.asarray(low), high) if signed else np.asarray(high)
        return cls(limit / most, np.zeros_like(limit), -most if signed else 0, most)

    def quantize(self, x: Array) -> Array:
        codes = np.clip(np.rint(x / self.step) + self.zero, self.lowest, self.highest)
        return np.asarray((codes - self.zero) * self.step)

    def passes(self, x: Array) -> Array:
        codes = np.rint(x / self.step) + self.zero
        return np.asarray((codes >= self.lowest) & (codes <= self.highest))


def by_channel(name: str, weights: Array, of: Callable[..., Array]) -> Array:
    """A number for each output channel, in a shape that broadcasts over the weights."""
    if name == "last":
        return of(weights, axis=0, keepdims=True)
    if name == "up":  # 2 groups of 2 inputs and 2 outputs
        found = np.zeros((4, 2, 1, 1))
        for group in range(2):
            part = weights[group * 2 : group * 2 + 2]
            found[group * 2 : group * 2 + 2] = of(part, axis=(0, 2, 3), keepdims=True)
        return found
    return of(weights, axis=tuple(range(1, weights.ndim)), keepdims=True)


class Reference:
    """The net, layer by layer."""

    def __init__(
        self,
        arrays: dict[str, list[Array]],
        weights: dict[str, Step],
        bottoms: dict[str, Step],
        inputs: dict[str, Array],
    ) -> None:
        self.blobs = dict(inputs)
        self.weights, self.bottoms, self.arrays = weights, bottoms, arrays
        self._runs: list[tuple[Any, reference_layers.Result, list[Array]]] = []
        for each in parse_net(NET).param.layer:
            if each.type == "Input":
                continue
            name = each.name
            plain = [self.blobs[blob] for blob in each.bottom]
            read = [bottoms[name].quantize(x) for x in plain] if name in bottoms else plain
            own = arrays.get(name, [])
            used = [weights[name].quantize(own[0]), *own[1:]] if name in weights else own
            result = reference_layers.run(each, "TRAIN", read, used)
            self._runs.append((each, result, plain))
            self.blobs[each.top[0]] = result.tops[0]

    def gradients(self) -> dict[str, list[Array]]:
        """Straight-through gradients of the loss by the floats of each layer."""
        of_blobs = {"loss": np.ones_like(self.blobs["loss"])}
        found = {}
        for each, result, plain in reversed(self._runs):
            bottoms, own = result.backward([of_blobs[each.top[0]]])
            for blob, gradient, x in zip(each.bottom, bottoms, plain, strict=True):
                if gradient is not None:
                    passes = self.bottoms[each.name].passes(x) if each.name in self.bottoms else 1
                    of_blobs[blob] = of_blobs.get(blob, 0) + gradient * passes
            if own:
                first = own[0]
                assert first is not None
                if each.name in self.weights:
                    first = first * self.weights[each.name].passes(self.arrays[each.name][0])
                found[each.name] = [first, *(g for g in own[1:] if g is not None)]
        return found


def loaded(threads: int, phase: str = "TRAIN") -> tuple[Executor, dict[str, list[Array]]]:
    """The net with weights, and these."""
    model = random_model(NET)
    net = Executor(parse_net(NET), phase, precision="fp64", workers=Workers(threads))
    net.load(model, "")
    return net, {
        each.name: [blob_array(blob).astype(np.float64) for blob in each.blobs]
        for each in model.layer
        if each.blobs
    }


def images(records: int = 7) -> dict[str, Array]:
    random = np.random.default_rng(1)
    return {
        "data": random.normal(0, 2, (records, 3, 8, 6)),
        "label": random.integers(0, 5, records).astype(np.float64),
    }


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("channels", [False, True])
def test_forward_and_gradients_are_those_of_the_reference(
    threads: int, kind: str, channels: bool
) -> None:
    net, arrays = loaded(threads)
    inputs = images()
    plain = Reference(arrays, {}, {}, inputs)
    read = {each.name: each.bottom[0] for each in parse_net(NET).param.layer if each.bottom}
    # Narrower than the numbers, so that some are cut.
    ranges = {
        name: (
            float(plain.blobs[read[name]].min()) * 0.7,
            float(plain.blobs[read[name]].max()) * 0.7,
        )
        for name in WEIGHTED
    }
    settings = QuantizerSettings(kind, channels, "max", kind, "max")
    file = BitsFile({"[cl]*": 5, "*": 3}, {"right": 3, "*": 4}, settings, ranges)
    quantization = Quantization(file, net)
    quantization.start()
    net.quantize(quantization.quantizers)
    weights, bottoms = {}, {}
    for name in WEIGHTED:
        own = arrays[name][0]
        low, high = (by_channel(name, own, of) if channels else of(own) for of in (np.min, np.max))
        weights[name] = Step.of(kind, low, high, 5 if name[0] in "cl" else 3, True)
        bits = 3 if name == "right" else 4
        bottoms[name] = Step.of(kind, *ranges[name], bits, ranges[name][0] < 0)
    reference = Reference(arrays, weights, bottoms, inputs)

    result = net.train_batch(inputs, keep={"cat", "ip"})
    assert result.loss == pytest.approx(float(reference.blobs["loss"].sum()), rel=1e-9)
    for name in ("cat", "ip"):
        np.testing.assert_allclose(result.blobs[name], reference.blobs[name], rtol=1e-9, atol=1e-9)
    cut = 0
    for name, expected in reference.gradients().items():
        for index, gradient in enumerate(expected):
            found = net.parameter(name, index).grad
            assert found is not None
            np.testing.assert_allclose(found, gradient, rtol=1e-8, atol=1e-10, err_msg=name)
        cut += int((~bottoms[name].passes(plain.blobs[read[name]])).sum())
    assert cut  # the test is of clipping, too
    tape = net.forward_on_tape(inputs)
    for (name, index), gradient in tape.backward().parameters.items():
        expected_one = reference.gradients()[name][index]
        np.testing.assert_allclose(gradient, expected_one, rtol=1e-8, atol=1e-10)

    model = {each.name: each.blobs for each in quantized_model(net).layer}
    for name in WEIGHTED:
        stored = blob_array(model[name][0])
        wanted = weights[name].quantize(arrays[name][0])
        np.testing.assert_allclose(stored, wanted, rtol=1e-6, atol=1e-9)


def test_memory_for_quantized_blobs_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = loaded(1)
    needs: list[int] = []
    monkeypatch.setattr(memory, "require", lambda needed, what, remedy: needs.append(needed))
    net.quantize(LayerQuantizers())
    net.quantize(LayerQuantizers(bottoms={"conv1": symmetric(1, 8)}))
    # Of one record: the quantized numbers, and a byte each for where gradients pass.
    assert needs[1] - needs[0] == 3 * 8 * 6 * (8 + 1)


@pytest.mark.parametrize("kind", ["shared", "symmetric"])
def test_weights_that_are_no_numbers_are_refused(kind: str) -> None:
    """A ReLU computed with its convolution makes 0 of nan, so that nothing would show."""
    net = Executor(parse_net(NET, "n"), "TEST", workers=Workers(1))
    net.parameter("left").data[0, 0, 0, 0] = torch.nan
    file = BitsFile({"*": 4}, quantizer=QuantizerSettings(weights=kind))
    with pytest.raises(NetError, match="n: layer 'left' has weights that are nan or infinite"):
        Quantization(file, net).start()
