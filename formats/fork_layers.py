"""Write layers of forks as Caffe's own of the same function, in a net and in its caffemodel alike.

A depthwise convolution is a Convolution with a group for each channel, whose weights have the same
shape (BVLC/caffe#5665). BatchNorm of NVCaffe and Intel Caffe may hold a scale and a bias: these
become a Scale layer, called as the BatchNorm with `/scale` behind.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FormatError
from ..text import first_few, printable
from .schema import BlobProto, FillerParameter, LayerParameter, NetParameter, ParamSpec

DEPTHWISE_TYPES = ("ConvolutionDepthwise", "DepthwiseConvolution")
MINIMUM_EPS = 1e-5  # of NVCaffe (batch_norm_layer.cpp)
_STATISTICS = 3  # blobs of a BatchNorm: mean, variance, and the factor of both


def group_depthwise(net: NetParameter) -> list[str]:
    """Write depthwise convolutions as grouped ones, in place; return a phrase if there are any."""
    layers = [layer for layer in net.layer if layer.type in DEPTHWISE_TYPES]
    for layer in layers:
        layer.type = "Convolution"
        param = layer.convolution_param
        if param.group == 1 and param.num_output:
            param.group = param.num_output
    names = [layer.name for layer in layers]
    return [f"depthwise layers to group = num_output: {first_few(names)}"] if names else []


Fillers = tuple[FillerParameter | None, FillerParameter | None]  # of a scale and a bias


SCALED = "BatchNorm with scale and bias to BatchNorm and Scale"


def split_batch_norm(
    net: NetParameter, scaled: Mapping[int, Fillers], source: str = "net"
) -> list[int]:
    """Insert a Scale behind some BatchNorm layers, in place; it takes their blobs from the fourth.

    Args:
        net: the net.
        scaled: index of such a BatchNorm -> the fillers of its scale and bias.
        source: the net's file, for messages.

    Returns:
        For each layer the index that it had; for a Scale that of its BatchNorm.

    Raises:
        FormatError: another layer has the name of the Scale.
    """
    names = {layer.name for layer in net.layer}
    layers: list[LayerParameter] = []
    indices: list[int] = []
    for index, layer in enumerate(net.layer):
        layers.append(layer)
        if index in scaled:
            layers.append(_take_scale(layer, scaled[index]))
            if layers[-1].name in names:
                raise FormatError(
                    f"{source}: layer '{printable(layer.name)}' becomes a BatchNorm and a Scale"
                    f" '{printable(layers[-1].name)}', but another has this name; rename it"
                )
        indices += [index] * (len(layers) - len(indices))
    del net.layer[:]
    net.layer.extend(layers)
    return indices


def _take_scale(layer: LayerParameter, fillers: Fillers) -> LayerParameter:
    """Move scale and bias of a BatchNorm to a Scale layer in place on its top."""
    scale = LayerParameter(name=f"{layer.name}/scale", type="Scale")
    scale.bottom.extend(layer.top)
    scale.top.extend(layer.top)
    scale.include.extend(layer.include)
    scale.exclude.extend(layer.exclude)
    # Both forks let the solver update scale and bias like any weights, whatever `param` says.
    named = [spec.name for spec in layer.param[_STATISTICS:] if spec.name]
    scale.param.extend(ParamSpec(name=name) for name in named)
    del layer.param[_STATISTICS:]
    scale.scale_param.bias_term = len(layer.blobs) != _STATISTICS + 1
    for target, filler in zip(("filler", "bias_filler"), fillers, strict=True):
        if filler is not None:
            getattr(scale.scale_param, target).CopyFrom(filler)
    if layer.blobs:
        _order_blobs(layer)
        scale.blobs.extend(layer.blobs[_STATISTICS:])
        del layer.blobs[_STATISTICS:]
    return scale


def _order_blobs(layer: LayerParameter) -> None:
    """Order blobs as NVCaffe from 0.16 on: mean, variance, factor, scale, bias.

    Before, the order was scale, bias, mean, variance, and a counter (Net::CopyTrainedLayersFrom).
    """
    blobs = list(layer.blobs)
    if len(blobs) == 5 and _size(blobs[4]) == 1:
        scale, bias, mean, variance, factor = blobs
        del factor.data[:], factor.double_data[:]
        factor.data.append(1)
        del layer.blobs[:]
        layer.blobs.extend((mean, variance, factor, scale, bias))
    for blob in layer.blobs:  # cuDNN's have four axes
        size = _size(blob)
        for field in ("num", "channels", "height", "width"):
            blob.ClearField(field)
        blob.shape.dim[:] = [size]


def _size(blob: BlobProto) -> int:
    return len(blob.data) or len(blob.double_data)
