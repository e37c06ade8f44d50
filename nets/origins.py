"""Where the layers of a net are from, and the fields of forks that they are read without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..formats.fork_fields import ForkUse
from ..formats.fork_layers import (
    MINIMUM_EPS,
    SCALED,
    Fillers,
    group_depthwise,
    split_batch_norm,
)
from ..formats.prototxt import Parsed, lines_of
from ..formats.schema import FillerParameter, LayerParameter, NetParameter
from ..formats.text_parser import TextParser
from ..text import first_few, printable

LAYERS = ("layer", "layers")
_NVCAFFE = "scale_bias", "scale_filler", "bias_filler"
_SCALES = {f"BatchNormParameter.{name}" for name in (*_NVCAFFE, "use_weight_bias")}


class LayerOrigin(NamedTuple):
    """Where a layer stands in the file, and the fields of forks that it is read without."""

    line: int
    fork_uses: tuple[ForkUse, ...] = ()


def layer_origins(text: str, parsed: Parsed) -> list[LayerOrigin]:
    """Return the origins of the layers of a net, in order."""
    uses: dict[int, list[ForkUse]] = {}
    for use in parsed.fork_uses:
        uses.setdefault(use.entry, []).append(use)
    lines = lines_of(text, (field.offset for field in parsed.fields))
    return [
        LayerOrigin(line, tuple(uses.get(entry, ())))
        for entry, (field, line) in enumerate(zip(parsed.fields, lines, strict=True))
        if field.name in LAYERS
    ]


def upgrade_fork_layers(net: NetParameter, origins: list[LayerOrigin], source: str) -> list[str]:
    """Write layers of forks as Caffe's own, in place; return a phrase for each change.

    Args:
        net: the net, in Caffe's current format.
        origins: of its layers, changed as they are: what is written otherwise is no longer missing.
        source: the file, for messages.

    Raises:
        FormatError: a new layer has the name of another.
    """
    changes = group_depthwise(net)
    scaled: dict[int, Fillers] = {}
    for index, (layer, origin) in enumerate(zip(net.layer, origins, strict=False)):
        uses = {use.field.path: use for use in origin.fork_uses if use.field.path in _SCALES}
        if layer.type == "BatchNorm" and uses:
            scaled[index] = _fillers(list(uses.values()))
            rest = tuple(use for use in origin.fork_uses if use.field.path not in uses)
            origins[index] = origin._replace(fork_uses=rest)
            if not any(path.endswith("use_weight_bias") for path in uses):
                _read_as_nvcaffe(layer)
    if scaled:
        names = [net.layer[index].name for index in scaled]
        changes.append(f"{SCALED}: {first_few(names)}")
        indices = split_batch_norm(net, scaled, printable(source))
        origins[:] = [origins[index] for index in indices]
    return changes


def _fillers(uses: Sequence[ForkUse]) -> Fillers:
    """Return the fillers of scale and bias that NVCaffe's fields hold, as text in braces."""
    found: dict[str, FillerParameter] = {}
    for use in uses:
        if isinstance(use.value, str):
            filler = found[use.field.name] = FillerParameter()
            TextParser(use.value[1:-1]).parse(filler)
    return found.get("scale_filler"), found.get("bias_filler")


def _read_as_nvcaffe(layer: LayerParameter) -> None:
    """Write out what NVCaffe does with a BatchNorm (batch_norm_layer.cpp): it has a least eps, and
    takes the statistics by the phase alone."""
    param = layer.batch_norm_param
    param.eps = max(param.eps, MINIMUM_EPS)
    param.ClearField("use_global_stats")
