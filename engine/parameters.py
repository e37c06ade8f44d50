"""The parameters of a net: sharing, learning rate multipliers, loading and saving.

Net::AppendParam, CopyTrainedLayersFrom, ShareTrainedLayersWith and ToProto (src/caffe/net.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import NetError
from ..formats.caffemodel import (
    blob_array,
    blob_shape,
    fill_blob,
    is_shared_blob,
    same_blob_shape,
)
from ..formats.ristretto import plain_type
from ..formats.schema import BlobProto, NetParameter, ParamSpec
from ..text import printable
from . import glog
from .fillers import fill
from .tensors import to_array
from .wiring import WiredLayer

Tensor = torch.Tensor

# Layer type -> the message with its fillers, and the filler of each blob.
_FILLER_FIELDS = {
    "Convolution": ("convolution_param", ("weight_filler", "bias_filler")),
    "Deconvolution": ("convolution_param", ("weight_filler", "bias_filler")),
    "InnerProduct": ("inner_product_param", ("weight_filler", "bias_filler")),
    "Embed": ("embed_param", ("weight_filler", "bias_filler")),
    "PReLU": ("prelu_param", ("filler",)),
    "Scale": ("scale_param", ("filler", "bias_filler")),
    "Bias": ("bias_param", ("filler",)),
}
_DEFAULTS = {"PReLU": 0.25, "Scale": 1.0}  # of the first blob, where the prototxt has no filler


@dataclass(eq=False)
class Parameter:
    """A learnable blob, which several layers may share.

    Attributes:
        layer, index: the first layer that uses it, and the blob's number there.
        data: the values that the solver updates.
        lr_mult, decay_mult: from the first ParamSpec that sets them; 1 where none does.
        statistic: a blob of BatchNorm: never cast, never learned.
        grad: the gradients summed since it was cleared; None where none was computed.
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
        """Whether the solver learns it, so that its gradient is computed."""
        return self.lr_mult != 0 and not self.statistic


@dataclass
class Parameters:
    """The parameters of a net.

    Attributes:
        unique: each parameter once, in Caffe's order (learnable_params).
        of_layer: for each layer, the indices of its blobs in `unique`.
    """

    layers: Sequence[WiredLayer]
    unique: list[Parameter] = field(default_factory=list)
    of_layer: list[list[int]] = field(default_factory=list)

    def names(self) -> list[str]:
        """Return the layers' names."""
        return [layer.name for layer in self.layers]

    def owns(self, number: int, index: int) -> bool:
        """Return whether a blob of layer `number` is no other layer's, shared by name."""
        parameter = self.unique[self.of_layer[number][index]]
        return (parameter.layer, parameter.index) == (self.layers[number].name, index)


def make_parameters(
    layers: Sequence[WiredLayer],
    dtype: torch.dtype,
    device: torch.device,
    key: tuple[int, ...],
    log: bool,
) -> Parameters:
    """Create and fill the parameters of a net (Net::AppendParam).

    Args:
        layers: the net's.
        dtype: of the data.
        device: of the data.
        key: of the fillers' random numbers.
        log: whether to log sharing.

    Raises:
        NetError: an unknown filler, or one that does not fit its blob.
    """
    result = Parameters(layers)
    named: dict[str, int] = {}
    explicit: list[tuple[bool, bool]] = []
    for number, layer in enumerate(layers):
        indices = []
        for index, blob in enumerate(layer.blobs):
            spec = layer.spec(index)
            if spec.name and spec.name in named:
                shared = named[spec.name]
                if log:
                    _log_sharing(spec.name, result.unique[shared])
                _inherit_multipliers(result.unique[shared], explicit, shared, spec)
                indices.append(shared)
                continue
            array = _initial_values(layer, index, blob.shape, (*key, number, index))
            data = torch.from_numpy(array).to(device=device, dtype=dtype)
            if data.dim() == 4:
                data = data.contiguous(memory_format=torch.channels_last)
            if spec.name:
                named[spec.name] = len(result.unique)
            indices.append(len(result.unique))
            explicit.append((spec.HasField("lr_mult"), spec.HasField("decay_mult")))
            result.unique.append(
                Parameter(layer.name, index, data, spec.lr_mult, spec.decay_mult, not blob.learned)
            )
        result.of_layer.append(indices)
    return result


def _initial_values(
    layer: WiredLayer, index: int, shape: tuple[int, ...], key: tuple[int, ...]
) -> np.ndarray:
    message, fields = _FILLER_FIELDS.get(plain_type(layer.type), ("", ()))
    if not message:
        return np.zeros(shape, dtype=np.float32)  # BatchNorm, Parameter
    # Scale with two bottoms has no blob but the bias.
    first = len(fields) - len(layer.blobs) if len(layer.bottoms) > 1 else 0
    param = getattr(layer.param, message)
    field_name = fields[index + max(0, first)]
    if not param.HasField(field_name) and field_name == "filler" and layer.type in _DEFAULTS:
        return np.full(shape, _DEFAULTS[layer.type], dtype=np.float32)
    return fill(getattr(param, field_name), shape, key, f"layer '{printable(layer.name)}'")


def _inherit_multipliers(
    parameter: Parameter, explicit: list[tuple[bool, bool]], number: int, spec: ParamSpec
) -> None:
    """Take from a later ParamSpec the multipliers that no earlier one sets."""
    has_lr, has_decay = explicit[number]
    if spec.HasField("lr_mult") and not has_lr:
        parameter.lr_mult, has_lr = spec.lr_mult, True
    if spec.HasField("decay_mult") and not has_decay:
        parameter.decay_mult, has_decay = spec.decay_mult, True
    explicit[number] = (has_lr, has_decay)


def _log_sharing(name: str, owner: Parameter) -> None:
    glog.info(
        f"Sharing parameters '{name}' owned by layer '{owner.layer}', param index {owner.index}",
        "net.cpp:467",
    )


def load_weights(parameters: Parameters, model: NetParameter, source: str, log: bool) -> set[str]:
    """Copy the blobs of a NetParameter by layer name (Net::CopyTrainedLayersFrom).

    A blob that a layer before shares may be missing, as in HDF5, which has it once.

    Returns:
        The names of the layers whose blobs were all loaded.

    Raises:
        NetError: a layer whose blobs differ in number or shape; then nothing is copied.
    """
    by_name = _index_layers(parameters)
    copies: dict[int, BlobProto] = {}  # by number of the parameter
    for stored in model.layer:
        number = by_name.get(stored.name, -1)
        if number < 0:
            if log:
                glog.info(f"Ignoring source layer {stored.name}", "net.cpp:746")
            continue
        layer, indices = parameters.layers[number], parameters.of_layer[number]
        present = {i: blob for i, blob in enumerate(stored.blobs) if not is_shared_blob(blob)}
        missing = [i for i in range(len(indices)) if i not in present]
        owned = [i for i in missing if parameters.owns(number, i)]
        if len(stored.blobs) > len(indices) or owned:
            raise NetError(
                f"{source}: Incompatible number of blobs for layer {layer.name}:"
                f" {len(present)} in the file, {len(indices)} in the net; give the net's own"
                " weights, or rename the layer to initialize it"
            )
        for index, blob in present.items():
            if not same_blob_shape(blob, layer.blobs[index].shape):
                raise NetError(_mismatch(source, layer, index, blob_shape(blob)))
            copies[indices[index]] = blob
    with torch.no_grad():
        for number, blob in copies.items():
            data = parameters.unique[number].data
            data.copy_(torch.from_numpy(blob_array(blob).reshape(tuple(data.shape))))
    return {
        layer.name
        for layer, indices in zip(parameters.layers, parameters.of_layer, strict=True)
        if indices and copies.keys() >= {*indices}
    }


def _index_layers(parameters: Parameters) -> dict[str, int]:
    """Map each layer name to the number of the first layer with that name."""
    index: dict[str, int] = {}
    for number, name in enumerate(parameters.names()):
        index.setdefault(name, number)
    return index


def _mismatch(source: str, layer: WiredLayer, index: int, stored: tuple[int, ...]) -> str:
    return (
        f"{source}: Cannot copy param {index} weights from layer '{layer.name}'; shape mismatch. "
        f" Source param shape is {glog.format_shape(stored)}; target param shape is"
        f" {glog.format_shape(layer.blobs[index].shape)}. To learn this layer's parameters from"
        " scratch rather than copying from a saved net, rename the layer."
    )


def share_weights(target: Parameters, source: Parameters) -> None:
    """Let layers of `target` use the blobs of `source` by name (Net::ShareTrainedLayersWith).

    Raises:
        NetError: the blobs of two layers of one name differ in number or shape.
    """
    by_name = _index_layers(target)
    for number, layer in enumerate(source.layers):
        match = by_name.get(layer.name, -1)
        if match < 0:
            glog.info(f"Ignoring source layer {layer.name}", "net.cpp:678")
            continue
        shapes = [blob.shape for blob in target.layers[match].blobs]
        if shapes != [blob.shape for blob in layer.blobs]:
            raise NetError(
                f"test net: layer '{layer.name}' has blobs of shapes {shapes}, and"
                f" {[blob.shape for blob in layer.blobs]} in the training net"
            )
        pairs = zip(target.of_layer[match], source.of_layer[number], strict=True)
        for a, b in pairs:
            target.unique[a].data = source.unique[b].data


def to_caffemodel(name: str, parameters: Parameters, phase: int, diffs: bool) -> NetParameter:
    """Return the NetParameter that Net::ToProto writes: every layer with its blobs."""
    model = NetParameter(name=name)
    for layer, indices in zip(parameters.layers, parameters.of_layer, strict=True):
        written = model.layer.add()
        written.CopyFrom(layer.param)
        if not written.HasField("phase"):
            written.phase = phase
        del written.blobs[:]
        for blob, index in zip(layer.blobs, indices, strict=True):
            parameter = parameters.unique[index]
            array = to_array(parameter.data).reshape(blob.shape)
            diff = np.zeros_like(array) if diffs else None
            if diffs and parameter.grad is not None:
                diff = to_array(parameter.grad).reshape(blob.shape)
            fill_blob(written.blobs.add(), array, diff)
    return model
