"""Layer names of the published nets.

Weights load by layer name, so a net needs the naming of the caffemodel that it loads.
"""

from __future__ import annotations

from typing import NamedTuple


class Naming(NamedTuple):
    """Layer names as patterns: `{m}` is the Fire module, `{c}` the convolution's own name.

    `sum` and `sum_norm` are the Eltwise's top and the BatchNorm after it, if a style has them.
    """

    squeeze: str = "fire{m}/squeeze1x1"
    expand1x1: str = "fire{m}/expand1x1"
    expand3x3: str = "fire{m}/expand3x3"
    concat: str = "fire{m}/concat"
    relu: str = "{folder}relu_{base}"
    classifier: str = "conv{m}"
    classifier_relu: str = "{folder}relu_{base}"
    last_pool: str = "pool{m}"
    bypass: str = "fire{m}/bypass"
    bypass_top: str = "fire{m}/bypass"
    bypass_conv: str = "fire{m}/bypass1x1"
    bypass_relu: str = "fire{m}/relu_bypass1x1"
    sum: str = "fire{m}/sum"
    sum_norm: str = "fire{m}/sum_bn"
    batch_norm: str = "{c}_bn"
    scale: str = "{c}_scale"


_RESIDUAL = {"bypass": "bypass_{before}{m}", "bypass_top": "fire{m}_EltAdd"}

NAMINGS = {
    "squeezenet": Naming(),
    "residual": Naming(**_RESIDUAL),
    "firenet": Naming(
        squeeze="fire{m}/conv1x1_1",
        expand1x1="fire{m}/conv1x1_2",
        expand3x3="fire{m}/conv3x3_2",
        classifier="conv_final",
        last_pool="pool_final",
        **_RESIDUAL,
    ),
    "generator": Naming(
        squeeze="{m}/squeeze1x1",
        expand1x1="{m}/expand1x1",
        expand3x3="{m}/expand3x3",
        concat="{m}/concat",
        relu="{c}_relu",
        classifier="conv_final",
        classifier_relu="relu{m}",
        bypass="bypass_{m}",
        bypass_top="{m}/end",
        bypass_conv="{m}/bypassConv",
        bypass_relu="{m}/bypassRelu",
        sum="{m}/Elt",
        sum_norm="{m}/EltBN",
    ),
}


def layer_name(pattern: str, module: int, conv: str = "") -> str:
    """Return a layer's name from its pattern."""
    folder, slash, base = conv.rpartition("/")
    return pattern.format(m=module, before=module - 1, c=conv, folder=folder + slash, base=base)


_WITH_WEIGHTS = ("squeeze", "expand1x1", "expand3x3", "bypass_conv", "sum_norm", "classifier")
_AFTER = ("batch_norm", "scale")


def layer_role(name: str) -> tuple[str, ...] | None:
    """Return the role of a layer with parameters in a SqueezeNet, from its name in any naming.

    Returns:
        Such as `("expand3x3", "2")` for `2/expand3x3`, `("classifier",)`, or
        `("batch_norm", "squeeze", "2")`; None for a name of no naming.
    """
    import re  # not needed to build a net

    for naming in NAMINGS.values():
        for part in _WITH_WEIGHTS:
            pattern = re.escape(getattr(naming, part)).replace(r"\{m\}", "([0-9]+)")
            match = re.fullmatch(pattern, name)
            if match and part == "classifier":
                # A net has one, whatever its number; conv1 is the first layer.
                return None if name == "conv1" else (part,)
            if match:
                return (part, *match.groups())
        for part in _AFTER:
            suffix = getattr(naming, part).removeprefix("{c}")
            inner = layer_role(name.removesuffix(suffix)) if name.endswith(suffix) else None
            if inner is not None:
                return (part, *inner)
    return None
