"""The parameters of a net: which blobs are one and the same, their multipliers, loading, saving.

Net::AppendParam, CopyTrainedLayersFrom, ShareTrainedLayersWith and ToProto (src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import NetError
from ..formats.caffemodel import blob_array, blob_shape, fill_blob, same_blob_shape
from ..formats.schema import NetParameter
from ..text import printable
from . import glog
from .fillers import fill
from .wiring import WiredLayer, shape_string

Tensor = torch.Tensor

# Layer type -> the message with its fillers, and the filler of each blob.
_FILLERS = {
    "Convolution": ("convolution_param", ("weight_filler", "bias_filler")),
    "InnerProduct": ("inner_product_param", ("weight_filler", "bias_filler")),
    "PReLU": ("prelu_param", ("filler",)),
    "Scale": ("scale_param", ("filler", "bias_filler")),
    "Bias": ("bias_param", ("filler",)),
}
_STARTS = {"PReLU": 0.25, "Scale": 1.0}  # where the prototxt has no filler for the first blob


@dataclass(eq=False)
class Parameter:
    """A learnable blob, which several layers may share.

    Attributes:
        layer, index: the first layer that has it, and the number of the blob there.
        data: the values the solver updates.
        lr_mult, decay_mult: of the first ParamSpec that says so; 1 where none does.
        statistic: BatchNorm's: never cast, never learned.
        grad: the sum of gradients since it was cleared; None where none was asked for.
    """

    layer: str
    index: int
    data: Tensor
    lr_mult: float
    decay_mult: float
    statistic: bool = False
    grad: Tensor | None = None

    @property
    def learned(self) -> bool:
        """Whether a gradient is computed at all."""
        return self.lr_mult != 0 and not self.statistic


@dataclass
class Parameters:
    """All of a net.

    Attributes:
        own: each once, in Caffe's order (learnable_params).
        of_layer: for each layer, numbers in `own` of its blobs.
        shapes: for each layer, the shapes of its blobs; sharing may be permissive.
    """

    layers: Sequence[WiredLayer]
    own: list[Parameter] = field(default_factory=list)
    of_layer: list[list[int]] = field(default_factory=list)

    def names(self) -> list[str]:
        """The layers' names."""
        return [layer.name for layer in self.layers]


def make_parameters(
    layers: Sequence[WiredLayer],
    dtype: torch.dtype,
    device: torch.device,
    key: tuple[int, ...],
    log: bool,
) -> Parameters:
    """Every parameter, filled.

    Args:
        layers: the net's.
        dtype: what they are kept in.
        device: where.
        key: what the fillers' random numbers depend on.
        log: whether to log what is shared.

    Raises:
        NetError: a filler that does not fit.
    """
    result = Parameters(layers)
    named: dict[str, int] = {}
    given: list[tuple[bool, bool]] = []
    for number, layer in enumerate(layers):
        numbers = []
        for index, blob in enumerate(layer.blobs):
            spec = layer.spec(index)
            if spec.name and spec.name in named:
                shared = named[spec.name]
                if log:
                    _log_shared(spec.name, result.own[shared])
                _adopt(result.own[shared], given, shared, spec)
                numbers.append(shared)
                continue
            array = _start(layer, index, blob.shape, (*key, number, index))
            data = torch.from_numpy(array).to(device=device, dtype=dtype)
            if data.dim() == 4:
                data = data.contiguous(memory_format=torch.channels_last)
            if spec.name:
                named[spec.name] = len(result.own)
            numbers.append(len(result.own))
            given.append((spec.HasField("lr_mult"), spec.HasField("decay_mult")))
            result.own.append(
                Parameter(layer.name, index, data, spec.lr_mult, spec.decay_mult, not blob.learned)
            )
        result.of_layer.append(numbers)
    return result


def _start(layer: WiredLayer, index: int, shape: tuple[int, ...], key: tuple[int, ...]) -> Any:
    message, fields = _FILLERS.get(layer.type, ("", ()))
    if not message:
        return np.zeros(shape, dtype=np.float32)  # BatchNorm
    # Scale with two bottoms has only a bias.
    first = len(fields) - len(layer.blobs) if len(layer.bottoms) > 1 else 0
    param = getattr(layer.param, message)
    field_name = fields[index + max(0, first)]
    if not param.HasField(field_name) and field_name == "filler" and layer.type in _STARTS:
        return np.full(shape, _STARTS[layer.type], dtype=np.float32)
    return fill(getattr(param, field_name), shape, key, f"layer '{printable(layer.name)}'")


def _adopt(parameter: Parameter, given: list[tuple[bool, bool]], number: int, spec: Any) -> None:
    """Multipliers that the first user left out are taken from a later one."""
    has_lr, has_decay = given[number]
    if spec.HasField("lr_mult") and not has_lr:
        parameter.lr_mult, has_lr = spec.lr_mult, True
    if spec.HasField("decay_mult") and not has_decay:
        parameter.decay_mult, has_decay = spec.decay_mult, True
    given[number] = (has_lr, has_decay)


def _log_shared(name: str, owner: Parameter) -> None:
    glog.info(
        f"Sharing parameters '{name}' owned by layer '{owner.layer}', param index {owner.index}",
        "net.cpp:482",
    )


def load(parameters: Parameters, model: Any, source: str, log: bool) -> set[str]:
    """Copy the blobs of a NetParameter into the layers of the same names.

    Returns:
        The names of the layers that got theirs.

    Raises:
        NetError: a layer with another number of blobs, or of another shape. Nothing is copied.
    """
    by_name: dict[str, int] = {}
    for number, name in enumerate(parameters.names()):
        by_name.setdefault(name, number)
    copies: list[tuple[Parameter, Any]] = []
    for stored in model.layer:
        number = by_name.get(stored.name, -1)
        if number < 0:
            if log:
                glog.info(f"Ignoring source layer {stored.name}", "net.cpp:742")
            continue
        layer, own = parameters.layers[number], parameters.of_layer[number]
        if len(own) != len(stored.blobs):
            raise NetError(
                f"{source}: Incompatible number of blobs for layer {layer.name}:"
                f" {len(stored.blobs)} there, {len(own)} in the net; give the net's own weights,"
                " or rename the layer to start it fresh"
            )
        for index, blob in enumerate(stored.blobs):
            if not same_blob_shape(blob, layer.blobs[index].shape):
                raise NetError(_mismatch(source, layer, index, blob_shape(blob)))
            copies.append((parameters.own[own[index]], blob))
    with torch.no_grad():
        for parameter, blob in copies:
            array = blob_array(blob).reshape(tuple(parameter.data.shape))
            parameter.data.copy_(torch.from_numpy(array))
    return {stored.name for stored in model.layer if stored.blobs and stored.name in by_name}


def _mismatch(source: str, layer: WiredLayer, index: int, stored: tuple[int, ...]) -> str:
    return (
        f"{source}: Cannot copy param {index} weights from layer '{layer.name}'; shape mismatch. "
        f" Source param shape is {shape_string(stored)}; target param shape is"
        f" {shape_string(layer.blobs[index].shape)}. To learn this layer's parameters from"
        " scratch rather than copying from a saved net, rename the layer."
    )


def share(target: Parameters, source: Parameters) -> None:
    """Let the layers of `target` use the blobs of layers of the same names in `source`.

    Raises:
        NetError: one has other blobs than its namesake.
    """
    by_name: dict[str, int] = {}
    for number, name in enumerate(target.names()):
        by_name.setdefault(name, number)
    for number, layer in enumerate(source.layers):
        mine = by_name.get(layer.name, -1)
        if mine < 0:
            glog.info(f"Ignoring source layer {layer.name}", "net.cpp:678")
            continue
        own, theirs = target.of_layer[mine], source.of_layer[number]
        shapes = [blob.shape for blob in target.layers[mine].blobs]
        if shapes != [blob.shape for blob in layer.blobs]:
            raise NetError(
                f"test net: layer '{layer.name}' has blobs of shapes {shapes}, and"
                f" {[blob.shape for blob in layer.blobs]} in the net that is trained"
            )
        for a, b in zip(own, theirs, strict=True):
            target.own[a].data = source.own[b].data


def to_model(name: str, parameters: Parameters, phase: int, diffs: bool) -> Any:
    """The NetParameter that Net::ToProto writes: every layer, with its blobs."""
    model = NetParameter(name=name)
    for layer, numbers in zip(parameters.layers, parameters.of_layer, strict=True):
        written = model.layer.add()
        written.CopyFrom(layer.param)
        if not written.HasField("phase"):
            written.phase = phase
        del written.blobs[:]
        for blob, number in zip(layer.blobs, numbers, strict=True):
            parameter = parameters.own[number]
            array = _array(parameter.data, blob.shape)
            diff = np.zeros_like(array) if diffs else None
            if diffs and parameter.grad is not None:
                diff = _array(parameter.grad, blob.shape)
            fill_blob(written.blobs.add(), array, diff)
    return model


def _array(tensor: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().contiguous().numpy()).reshape(shape)
