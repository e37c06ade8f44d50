"""Ristretto's layer types: those of Caffe with weights or activations of few bits.

Ristretto (pmgysel/caffe, 614963c) is a fork of Caffe whose own example is SqueezeNet. Its layers
read `quantization_param` besides the fields of the type that they quantize. Intel Caffe and
Caffe-jacinto have a field of the same name, with another meaning, in Caffe's own layer types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.message import Message

from .fork_fields import OTHER_QUANTIZATION, ForkUse
from .schema import LayerParameter
from .text_parser import Field

# Each type, and that of Caffe which it quantizes.
RISTRETTO_TYPES = {
    "ConvolutionRistretto": "Convolution",
    "DeconvolutionRistretto": "Deconvolution",
    "FcRistretto": "InnerProduct",
    "LRNRistretto": "LRN",
}
_FIELD: Final = "quantization_param"


def plain_type(layer_type: str) -> str:
    """Return the type of Caffe that a type of Ristretto quantizes; any other type as it is."""
    return RISTRETTO_TYPES.get(layer_type, layer_type)


def is_other_quantization(path: Iterable[Message]) -> bool:
    """Whether a message is the quantization_param of a layer that is not Ristretto's.

    Args:
        path: the messages that it is in, and itself.
    """
    *outer, message = path
    return message.DESCRIPTOR.name == "QuantizationParameter" and any(
        isinstance(layer, LayerParameter) and layer.type not in RISTRETTO_TYPES for layer in outer
    )


def take_other_quantization(
    net: Message, fields: list[Field], text: str
) -> Iterator[tuple[ForkUse, int]]:
    """Clear the quantization_param of layers that are not Ristretto's; yield each, and its offset.

    Args:
        net: what the text was parsed into.
        fields: of the text.
        text: the prototxt.
    """
    layers = iter(getattr(net, "layer", ()))
    for entry, field in enumerate(fields):
        layer = next(layers, None) if field.name == "layer" else None
        if not isinstance(layer, LayerParameter) or layer.type in RISTRETTO_TYPES:
            continue
        for inner in field.fields:
            if inner.name == _FIELD:
                layer.ClearField(_FIELD)
                value = " ".join(text[slice(*inner.body)].split())
                yield ForkUse(OTHER_QUANTIZATION, f"{{ {value} }}", 0, entry), inner.offset
