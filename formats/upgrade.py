"""Upgrade old nets and solvers as Caffe does on reading (src/caffe/util/upgrade_proto.cpp).

The steps, in Caffe's order: V0 layers (2013) to V1; transformation fields out of the data
parameters; V1 layers (2014, `layers` and enum types) to `layer`; `input` headers to an Input layer;
the multipliers of BatchNorm's three blobs to zero. This raises where Caffe aborts, or logs an error
and continues with a half-upgraded net.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from ..errors import FormatError
from ..text import did_you_mean
from .schema import (
    LayerParameter,
    NetParameter,
    SolverParameter,
    V1LayerParameter,
)

# What `upgrade_net` may change.
V0_LAYERS = "V0 layers"
TRANSFORMS = "transformation fields of the data layers"
V1_LAYERS = "V1 layers"
INPUT_HEADER = "the input header"
BATCH_NORM = "the multipliers of BatchNorm's statistics"
SOLVER_TYPE = "solver_type"
OLD_FORMATS = (V0_LAYERS, V1_LAYERS, INPUT_HEADER)

# V1 types whose V2 name is not the enum name in CamelCase.
_V1_TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "ELTWISE": "Eltwise",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "IM2COL": "Im2col",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
}

# V0 type -> V1 type, and the field of its parameters.
_V0_TYPES = {
    "accuracy": ("ACCURACY", ""),
    "bnll": ("BNLL", ""),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", ""),
    "flatten": ("FLATTEN", ""),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", "hdf5_output_param"),
    "im2col": ("IM2COL", ""),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", ""),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", ""),
    "sigmoid": ("SIGMOID", ""),
    "softmax": ("SOFTMAX", ""),
    "softmax_loss": ("SOFTMAX_LOSS", ""),
    "split": ("SPLIT", ""),
    "tanh": ("TANH", ""),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}

# V0 field -> its V1 name, and the V0 types that may set it.
_V0_FIELDS = {
    "num_output": ("num_output", "conv innerproduct"),
    "biasterm": ("bias_term", "conv innerproduct"),
    "weight_filler": ("weight_filler", "conv innerproduct"),
    "bias_filler": ("bias_filler", "conv innerproduct"),
    "pad": ("pad", "conv pool"),
    "kernelsize": ("kernel_size", "conv pool"),
    "group": ("group", "conv"),
    "stride": ("stride", "conv pool"),
    "pool": ("pool", "pool"),
    "dropout_ratio": ("dropout_ratio", "dropout"),
    "local_size": ("local_size", "lrn"),
    "alpha": ("alpha", "lrn"),
    "beta": ("beta", "lrn"),
    "k": ("k", "lrn"),
    "source": ("source", "data hdf5_data images window_data infogain_loss"),
    "batchsize": ("batch_size", "data hdf5_data images window_data"),
    "rand_skip": ("rand_skip", "data images"),
    "shuffle_images": ("shuffle", "images"),
    "new_height": ("new_height", "images"),
    "new_width": ("new_width", "images"),
    "concat_dim": ("concat_dim", "concat"),
    "det_fg_threshold": ("fg_threshold", "window_data"),
    "det_bg_threshold": ("bg_threshold", "window_data"),
    "det_fg_fraction": ("fg_fraction", "window_data"),
    "det_context_pad": ("context_pad", "window_data"),
    "det_crop_mode": ("crop_mode", "window_data"),
}
_V0_TRANSFORM = {
    "scale": "scale",
    "meanfile": "mean_file",
    "cropsize": "crop_size",
    "mirror": "mirror",
}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAMS = {
    "DATA": "data_param",
    "IMAGE_DATA": "image_data_param",
    "WINDOW_DATA": "window_data_param",
}


def upgrade_net(
    net: NetParameter, source: str = "net", origins: list[Any] | None = None
) -> list[str]:
    """Upgrade a net in place; return what changed, one of the phrases above each.

    Args:
        net: the net.
        source: its file, for messages.
        origins: where each `layer` or `layers` is from; changed as the net is, but for the layer
            that an input header becomes, at the start.

    Raises:
        FormatError: the file mixes generations, or has something that Caffe can't upgrade.
    """
    changes = []
    origins = [] if origins is None else origins
    if any(layer.HasField("layer") for layer in net.layers):
        _v0_to_v1(net, source, origins)
        changes.append(V0_LAYERS)
    if _move_transforms(net):
        changes.append(TRANSFORMS)
    if net.layers:
        _v1_to_v2(net, source)
        changes.append(V1_LAYERS)
    if net.input:
        _input_to_layer(net, source)
        changes.append(INPUT_HEADER)
    if _freeze_batch_norm(net):
        changes.append(BATCH_NORM)
    return changes


def upgrade_solver(solver: SolverParameter, source: str = "solver") -> list[str]:
    """Replace the enum `solver_type` by the string `type`; return a phrase for each change.

    Raises:
        FormatError: the solver sets both.
    """
    if not solver.HasField("solver_type"):
        return []
    if solver.HasField("type"):
        raise FormatError(f"{source}: sets both solver_type (old) and type; keep type")
    names = {"NESTEROV": "Nesterov", "ADAGRAD": "AdaGrad", "RMSPROP": "RMSProp"}
    names |= {"ADADELTA": "AdaDelta", "ADAM": "Adam"}
    old = SolverParameter.SolverType.Name(solver.solver_type)
    solver.type = names.get(old, old)
    solver.ClearField("solver_type")
    return [SOLVER_TYPE]


def _copy(value: object, target: Message, field: str) -> None:
    """Set `target.field` to a scalar or message, or extend it if it is repeated."""
    current = getattr(target, field)
    if hasattr(current, "extend"):
        current.extend(value if hasattr(value, "extend") else [value])
    elif isinstance(value, Message):
        current.CopyFrom(value)
    else:
        setattr(target, field, value)


# V0: each `layers` entry wraps the layer in `layer`, with a lower-case type.


def _v0_to_v1(net: NetParameter, source: str, origins: list[Any]) -> None:
    is_padding = [layer.layer.type == "padding" for layer in net.layers]
    upgraded = [_v0_layer(layer, source) for layer in _fold_padding(net, source)]
    origins[:] = [each for each, folded in zip(origins, is_padding, strict=False) if not folded]
    del net.layers[:]
    net.layers.extend(upgraded)


def _fold_padding(net: NetParameter, source: str) -> list[V1LayerParameter]:
    """Return copies of the V0 layers without `padding` ones, whose pad moves to their consumer."""
    producer: dict[str, V1LayerParameter | None] = dict.fromkeys(net.input)
    connections = []
    for original in net.layers:
        connection = V1LayerParameter.FromString(original.SerializeToString())
        layer = connection.layer
        for index, bottom in enumerate(connection.bottom):
            if bottom not in producer:
                raise FormatError(f"{source}: layer '{layer.name}' reads unknown blob '{bottom}'")
            feeder = producer[bottom]
            if feeder is not None and feeder.layer.type == "padding":
                if layer.type not in ("conv", "pool") or len(connection.bottom) != 1:
                    raise FormatError(
                        f"{source}: padding layer '{feeder.layer.name}' feeds '{layer.name}';"
                        " only a conv or pool layer with one bottom can take its pad"
                    )
                layer.pad = feeder.layer.pad
                connection.bottom[index] = feeder.bottom[0]
        producer |= dict.fromkeys(connection.top, connection)
        if layer.type != "padding":
            connections.append(connection)
    return connections


def _v0_layer(connection: V1LayerParameter, source: str) -> V1LayerParameter:
    old = connection.layer
    if old.type not in _V0_TYPES:
        hint = did_you_mean(old.type, _V0_TYPES)
        raise FormatError(f"{source}: layer '{old.name}': no V0 type '{old.type}'{hint}")
    new = V1LayerParameter(bottom=connection.bottom, top=connection.top)
    type_name, parameters = _V0_TYPES[old.type]
    new.type = V1LayerParameter.LayerType.Value(type_name)
    for descriptor, value in old.ListFields():
        field = descriptor.name
        if field in ("name", "blobs", "blobs_lr", "weight_decay", "hdf5_output_param"):
            _copy(value, new, field)
        elif field in _V0_TRANSFORM:
            _copy(value, new.transform_param, _V0_TRANSFORM[field])
        elif field != "type":
            target, types = _V0_FIELDS.get(field, (field, ""))
            if old.type not in types.split():
                raise FormatError(f"{source}: layer '{old.name}': a {old.type} has no {field}")
            _copy(value, getattr(new, parameters), target)
    return new


# V1: `layers` with an enum type, blobs_lr and weight_decay.


def _move_transforms(net: NetParameter) -> bool:
    """Move transformation fields from data parameters to transform_param; return if any moved."""
    moved = False
    for layer in net.layers:
        name = _DATA_PARAMS.get(V1LayerParameter.LayerType.Name(layer.type))
        if name is None:
            continue
        parameters: Message = getattr(layer, name)
        for field in _TRANSFORM_FIELDS:
            if parameters.HasField(field):
                setattr(layer.transform_param, field, getattr(parameters, field))
                parameters.ClearField(field)
                moved = True
    return moved


def _v1_to_v2(net: NetParameter, source: str) -> None:
    if net.layer:
        raise FormatError(f"{source}: has both 'layers' (V1) and 'layer'; write all as 'layer'")
    for old in net.layers:
        new = net.layer.add()
        for descriptor, value in old.ListFields():
            field = descriptor.name
            if field == "type":
                name = V1LayerParameter.LayerType.Name(old.type)
                new.type = _V1_TYPES.get(name, name.title().replace("_", ""))
            elif field in ("param", "blob_share_mode", "blobs_lr", "weight_decay"):
                _param_specs(new, field, value)
            else:
                _copy(value, new, field)
    del net.layers[:]


def _param_specs(layer: LayerParameter, field: str, values: Iterable[object]) -> None:
    """Write a V1 field, with a value for each blob, into the `param` of a layer."""
    target = {
        "param": "name",
        "blob_share_mode": "share_mode",
        "blobs_lr": "lr_mult",
        "weight_decay": "decay_mult",
    }[field]
    for index, value in enumerate(values):
        while len(layer.param) <= index:
            layer.param.add()
        setattr(layer.param[index], target, value)


# V2, but older than Caffe 1.0.


def _input_to_layer(net: NetParameter, source: str) -> None:
    """Replace `input`, `input_shape` and `input_dim` by an Input layer at the start."""
    shapes = [list(shape.dim) for shape in net.input_shape]
    if not shapes and net.input_dim:
        dims = list(net.input_dim)
        shapes = [dims[i : i + 4] for i in range(0, len(dims), 4)]
    if net.input_dim and len(net.input_dim) % 4:
        raise FormatError(f"{source}: {len(net.input_dim)} input_dim; each input needs four")
    if shapes:
        if len(shapes) < len(net.input):
            raise FormatError(
                f"{source}: {len(net.input)} input blobs, but dimensions for {len(shapes)};"
                " give each four input_dim or one input_shape"
            )
        layers = list(net.layer)
        del net.layer[:]
        first = net.layer.add(name="input", type="Input", top=net.input)
        for shape in shapes[: len(net.input)]:
            first.input_param.shape.add(dim=shape)
        net.layer.extend(layers)
    net.ClearField("input")
    net.ClearField("input_shape")
    net.ClearField("input_dim")


def _freeze_batch_norm(net: NetParameter) -> bool:
    """Set the multipliers of BatchNorm's three blobs to 0; return whether an lr_mult was not 0."""
    changed = False
    for layer in filter(has_batch_norm_params, net.layer):
        for spec in layer.param:
            changed = changed or spec.lr_mult != 0
            spec.lr_mult = spec.decay_mult = 0.0
    return changed


def has_batch_norm_params(layer: LayerParameter) -> bool:
    """Decide whether a layer is a BatchNorm with multipliers, which Caffe upgrades to 0."""
    return layer.type == "BatchNorm" and len(layer.param) == 3
