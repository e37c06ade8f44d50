"""Compare an ONNX model in ONNX Runtime with a net in the engine, on random inputs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from math import isnan, prod
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, ValueInfoProto

from ..errors import NetError
from ..nets.definition import NetDefinition
from ..text import printable
from ..weights.net_arrays import Arrays
from .onnx_preprocessing import Preprocessing
from .trained_net import Comparison

if TYPE_CHECKING:
    from ..engine.executor import Executor

TOLERANCE = 1e-4  # relative to a blob's largest element
_INPUTS = 2
_INPUT_SCALE = 64.0  # standard deviation, about that of pixels
_BATCH = 2  # where the model takes any
_COPIES = 4  # of each blob: the engine's and ONNX Runtime's, for both inputs
_FATAL = 4  # the severity from which ONNX Runtime logs: it raises what is less
_PACKAGES = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}

Blobs = dict[str, np.ndarray]


def missing_packages() -> list[str]:
    """Return the names of the packages that a comparison needs and that are not installed."""
    return [name for module, name in _PACKAGES.items() if find_spec(module) is None]


def compare(
    model: ModelProto,
    net: NetDefinition,
    arrays: Arrays,
    values: Mapping[str, str],
    preprocessing: Preprocessing | None = None,
) -> Comparison:
    """Run a model, and the net that it should equal, on the same random inputs.

    Args:
        model: the model.
        net: a deploy net.
        arrays: name of a layer -> its parameter blobs.
        values: name of a blob of the net -> that of the value in the model; inputs and outputs, and
            maybe others.
        preprocessing: what the model does before, where it takes images.

    Raises:
        NetError: ONNX Runtime refuses the model, or a blob differs: names the first.
    """
    from ..engine import memory
    from ..engine.executor import Executor

    engine = Executor(net, "TEST")
    shapes = (shape for layer in engine.wiring.layers for shape in layer.top_shapes)
    needed = _COPIES * 4 * _BATCH * sum(map(prod, shapes))
    what = f"{printable(net.source)}: the comparison of its blobs"
    memory.require(needed, what, "--no-proof goes without")
    for name, blobs in arrays.items():
        engine.set_blobs(name, [np.asarray(blob, "f4") for blob in blobs])
    outputs = {output.name for output in model.graph.output}
    inner = [value for value in dict.fromkeys(values.values()) if value not in outputs]
    inputs = {value.name for value in _inputs(model)}
    sessions = [_Session(model), _Session(_with_outputs(model, set(inner) - inputs))]
    feeds = [_random_feed(model, preprocessing, seed) for seed in range(_INPUTS)]
    pairs = []
    for feed in feeds:
        theirs = sessions[1].run(feed) | sessions[0].run(feed)
        pairs.append((_run_engine(engine, feed, values, preprocessing), theirs))
    compared = {blob: value for blob, value in values.items() if value not in inputs}
    largest = 0.0
    for blob, value in compared.items():
        for ours, theirs in pairs:
            difference = _difference(ours[blob], theirs[value])
            if not difference <= TOLERANCE:
                raise NetError(_describe(net, blob, difference))
            largest = max(largest, difference)
    constant = [
        blob
        for blob, value in compared.items()
        if value in outputs and np.array_equal(pairs[0][0][blob], pairs[1][0][blob])
    ]
    return Comparison(len(compared), largest, constant)


def _describe(net: NetDefinition, blob: str, difference: float) -> str:
    maker = next(layer for layer in reversed(net.param.layer) if blob in layer.top)
    where = f"{net.place(maker)}: layer '{printable(maker.name)}': on a random input"
    if isnan(difference):
        return (
            f"{where} its output is not finite, so that nothing can be proven; inspect the weights"
            " with sqgen weights show"
        )
    return (
        f"{where} its output in ONNX Runtime differs from the engine's by {difference:.1e} of its"
        " largest element"
    )


def _difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference relative to the largest element; nan where one is no number."""
    if ours.shape != theirs.shape or not ours.size:
        return float("inf") if ours.shape != theirs.shape else 0.0
    return float(np.abs(ours - theirs).max()) / (float(np.abs(ours).max()) or 1.0)


def _random_feed(model: ModelProto, preprocessing: Preprocessing | None, seed: int) -> Blobs:
    generator = np.random.default_rng(seed)
    feed: Blobs = {}
    for value in _inputs(model):
        shape = tuple(axis.dim_value or _BATCH for axis in value.type.tensor_type.shape.dim)
        if preprocessing is not None:
            feed[value.name] = preprocessing.random_images(generator, shape)
        else:
            feed[value.name] = generator.normal(0, _INPUT_SCALE, shape).astype("f4")
    return feed


def _inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs of a model, without the initializers that old files list there."""
    constant = {tensor.name for tensor in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in constant]


def _run_engine(
    engine: Executor,
    feed: Blobs,
    values: Mapping[str, str],
    preprocessing: Preprocessing | None,
) -> dict[str, Any]:
    arrays = {blob: feed[value] for blob, value in values.items() if value in feed}
    if preprocessing is not None:
        arrays = {blob: preprocessing.apply(array) for blob, array in arrays.items()}
    return engine.forward(arrays, keep=values.keys())


def _with_outputs(model: ModelProto, names: set[str]) -> ModelProto:
    """Copy a model, with more of its values as outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(ValueInfoProto(name=name) for name in sorted(names))
    return copy


class _Session:
    """A model in ONNX Runtime."""

    def __init__(self, model: ModelProto) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own classes, without a common one of theirs
            raise _refused(error) from None
        self._names = [output.name for output in model.graph.output]

    def run(self, feed: Blobs) -> Blobs:
        """Return the outputs by name."""
        try:
            return dict(zip(self._names, self._session.run(self._names, feed), strict=True))
        except Exception as error:
            raise _refused(error) from None


def _refused(error: Exception) -> NetError:
    return NetError(f"ONNX Runtime refuses the model: {printable(str(error))}")
