"""Map weights of any format to the layers of a net (`weights/mapping.py`), and prove it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from ..errors import NetError
from ..formats.schema import NetParameter
from ..generator.naming import layer_role
from ..nets.definition import NetDefinition
from ..nets.inference_graph import InferenceGraph, inference_graph, inference_graph_of_model
from ..nets.layer_types import Shape
from ..weights.equal_layers import pair_names
from ..weights.mapping import WeightMapping, make_mapped_caffemodel, map_weights
from .known_nets import rename_layers

if TYPE_CHECKING:
    from ..engine.equivalence import Proof


class MappingOptions(NamedTuple):
    """How weights are mapped to a net (`weights/mapping.py`).

    Attributes:
        image: (channels, height, width) of images, where data layers don't say.
        partial: allow layers of the target without weights.
        ignore_bypass: leave out bypasses that only one net has.
        proof: whether to run both nets.
    """

    image: Shape | None = None
    partial: bool = False
    ignore_bypass: bool = False
    proof: bool = True


class Mapped(NamedTuple):
    """Weights in the layers of a net, and how they got there; `proof` is None if not run."""

    model: NetParameter
    mapping: WeightMapping
    proof: Proof | None


def map_stored(
    stored: NetParameter,
    shown: str,
    target: NetDefinition,
    trained: NetDefinition | None,
    options: MappingOptions,
    by_names: bool = False,
) -> Mapped:
    """Map weights to a net.

    Args:
        stored: the weights.
        shown: their file, for messages.
        target: the net that gets them.
        trained: the net they are of; None takes what the file says.
        options: how.
        by_names: where nothing says what net they are of, go by names and shapes alone, unproven.

    Raises:
        NetError: a layer gets no weights, or the nets compute different things.
    """
    ours = inference_graph(target, options.image)
    if trained is not None:
        theirs = inference_graph(trained, options.image)
    elif has_definitions(stored) or not by_names:
        theirs = inference_graph_of_model(stored, shown, options.image)
    else:
        mapping = _map_by_names(stored, ours, options, shown)
        return Mapped(make_mapped_caffemodel(target, mapping), mapping, None)
    mapping = _map_graphs(theirs, ours, stored, options, shown)
    model = make_mapped_caffemodel(target, mapping)
    proof = _prove(theirs, ours, mapping, stored) if options.proof else None
    return Mapped(model, mapping, proof)


def has_definitions(model: NetParameter) -> bool:
    """Whether weights come with the definitions of their layers."""
    return any(layer.top for layer in model.layer)


def _map_graphs(
    theirs: InferenceGraph,
    ours: InferenceGraph,
    model: NetParameter,
    options: MappingOptions,
    shown: str,
) -> WeightMapping:
    """Map weights; an error names --ignore-bypass where that is all that is needed."""

    def map_them(ignoring: bool) -> WeightMapping:
        return map_weights(theirs, ours, model, layer_role, options.partial, ignoring, shown)

    try:
        return map_them(options.ignore_bypass)
    except NetError as error:
        if not options.ignore_bypass:
            with suppress(NetError):
                map_them(True)
                error.args = (f"{error}; --ignore-bypass maps all but the bypasses",)
        raise


def _map_by_names(
    model: NetParameter, net: InferenceGraph, options: MappingOptions, shown: str
) -> WeightMapping:
    """Map weights of an unknown net, by names in any dialect and by shapes."""
    stored = [layer.name for layer in model.layer if layer.blobs]
    origins = pair_names([layer.name for layer in net.layers], stored, layer_role)
    renamed = NetParameter()
    renamed.CopyFrom(model)
    rename_layers(renamed, {source: target for target, (source, _) in origins.items()})
    mapping = map_weights(net, net, renamed, layer_role, options.partial, file=shown)
    rows = [
        row._replace(source=origins[row.target][0], how=origins[row.target][1])
        for row in mapping.rows
    ]
    return mapping._replace(rows=rows)


def _prove(
    theirs: InferenceGraph, ours: InferenceGraph, mapping: WeightMapping, model: NetParameter
) -> Proof:
    from ..engine.equivalence import load_engine, prove

    return prove(load_engine(), theirs, ours, mapping, model)
