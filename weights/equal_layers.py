"""Find, for each layer of a net, the layer of another net that computes the same.

Walks the target from its inputs on and signs each of its blobs (`signatures.py`). Where the source
has a blob of that signature, both are equal up to the order of their channels (`channel_order.py`);
the first layer whose top the source lacks is refused by name.

A layer of the target gets the weights of the source's layer of the same name, or else of a name
that means the same in another dialect, or else of the layer that does the same to the same blobs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import NetError
from ..formats.caffemodel import blob_shape
from ..formats.schema import BlobProto, NetParameter
from ..nets.inference_graph import InferenceGraph
from ..nets.layer_types import Shape
from ..nets.shapes import LayerShapes
from ..text import first_few, printable, shape_text
from .bypasses import Bypass, differing_bypasses, without_bypasses
from .match import describe_mismatch
from .signatures import SignatureTable, SignedNet

NAME, DIALECT, ORDER = "name", "dialect", "order"
BATCH = 1  # of the shapes that both nets get; no layer of TEST computes across it

Role = Callable[[str], Hashable]


@dataclass(frozen=True)
class EqualLayers:
    """The layers of two nets that compute the same.

    Attributes:
        source, target: the nets.
        inputs: (name in the target, name in the source, shape) of each input.
        stored: name of a layer of the source -> its BlobProtos.
        origins: name of a layer of the target -> (the source's layer whose weights it gets, how
            that was found: `name`, `dialect` or `order`).
        missing: names of the target's layers that get no weights.
        pairs: (target's, source's) layers that compute the same, in the target's order.
        makers: number of a signature -> (the source's layer that makes such a blob, the blob).
        bypasses: names of sums in the source and in the target that were left out.
    """

    source: SignedNet
    target: SignedNet
    inputs: list[tuple[str, str, Shape]]
    stored: dict[str, Sequence[BlobProto]]
    origins: dict[str, tuple[str, str]]
    missing: list[str]
    pairs: list[tuple[LayerShapes, LayerShapes]]
    makers: dict[int, tuple[LayerShapes, str]]
    bypasses: tuple[list[str], list[str]]

    @cached_property
    def common(self) -> frozenset[int]:
        """Numbers of the signatures of blobs that both nets have."""
        return frozenset(self.target.signatures.values())

    @cached_property
    def outputs(self) -> frozenset[str]:
        """Blobs of the target that none of its layers reads."""
        return frozenset(self.target.graph.outputs)

    def equal_blob(self, blob: str) -> str:
        """Return the source's blob that equals one that a layer of the target makes."""
        return self.makers[self.target.signatures[blob]][1]


def find_equal_layers(
    source: InferenceGraph,
    target: InferenceGraph,
    model: NetParameter,
    role: Role,
    partial: bool,
    ignore_bypass: bool,
    file: str,
) -> EqualLayers:
    """Match all layers of the target with layers of the source; arguments as of `map_weights`.

    Raises:
        NetError: the nets compute different things, with the first layer that differs; or a layer
            gets no weights.
    """
    inputs = _common_inputs(source, target)
    theirs, ours = _unsigned_nets(source, target, inputs)
    weighted = list(ours.weighted)
    left_out: tuple[list[Bypass], list[Bypass]] = ([], [])
    if ignore_bypass:
        left_out = differing_bypasses(theirs, ours, {name: other for name, other, _ in inputs})
        source = without_bypasses(source, left_out[0])
        target = without_bypasses(target, left_out[1])
        theirs, ours = _unsigned_nets(source, target, inputs)
    stored: dict[str, Sequence[BlobProto]] = {
        layer.name: layer.blobs for layer in model.layer if layer.blobs
    }
    finder = _Finder(theirs, ours, stored, role, partial, file)
    finder.check_stored()
    finder.sign_source(inputs)
    finder.pair_by_names()
    finder.walk_target()
    missing = {*finder.missing, *(name for name in weighted if name not in ours.weighted)}
    return EqualLayers(
        theirs,
        ours,
        inputs,
        stored,
        finder.origins,
        [name for name in weighted if name in missing],
        finder.pairs,
        finder.makers,
        ([bypass.layer for bypass in left_out[0]], [bypass.layer for bypass in left_out[1]]),
    )


def _unsigned_nets(
    source: InferenceGraph, target: InferenceGraph, inputs: Sequence[tuple[str, str, Shape]]
) -> tuple[SignedNet, SignedNet]:
    """Return both nets in the shapes of their common inputs, without signatures."""
    shapes = {other: shape for _, other, shape in inputs}
    others: dict[str, Shape] = {}
    for name, shape in source.inputs.items():
        if shape is None and name not in shapes:
            raise NetError(
                f"{printable(source.source)}: no layer makes '{printable(name)}'; give the net that"
                " the weights are of: --from NET"
            )
        if shape is not None and name not in shapes:
            others[name] = shape
    own = {name: shape for name, _, shape in inputs}
    return SignedNet(source, {**others, **shapes}), SignedNet(target, own)


def _common_inputs(source: InferenceGraph, target: InferenceGraph) -> list[tuple[str, str, Shape]]:
    """Pair inputs by name, or in order where both nets have as many; shapes are the target's."""
    names = list(target.inputs)
    others = names
    if not all(name in source.inputs for name in names):
        others = list(source.inputs)
        if len(others) != len(names):
            shown = [", ".join(map(printable, each)) or "none" for each in (names, others)]
            raise NetError(
                f"{printable(target.source)}: its inputs are {shown[0]}, those of"
                f" {printable(source.source)} {shown[1]}; they must be the same"
            )
    result = []
    for name, other in zip(names, others, strict=True):
        shape = target.inputs[name] or source.inputs[other]
        if shape is None:
            raise NetError(
                f"{printable(target.source)}: the size of input '{printable(name)}' is unknown;"
                " give it: --image CxHxW"
            )
        result.append((name, other, (BATCH, *shape[1:])))
    return result


class _Finder:
    """Finds the fields of an EqualLayers, which have the same names here."""

    def __init__(
        self,
        source: SignedNet,
        target: SignedNet,
        stored: dict[str, Sequence[BlobProto]],
        role: Role,
        partial: bool,
        file: str,
    ) -> None:
        self.source, self.target, self.stored = source, target, stored
        self.role, self.partial, self.file = role, partial, file
        self.table = SignatureTable()
        self.origins: dict[str, tuple[str, str]] = {}
        self.missing: list[str] = []
        self.pairs: list[tuple[LayerShapes, LayerShapes]] = []
        self.makers: dict[int, tuple[LayerShapes, str]] = {}

    def check_stored(self) -> None:
        """Check that the blobs in the file have the shapes of the source's."""
        where = printable(self.source.graph.source)
        for name, item in self.source.weighted.items():
            stored = self.stored.get(name, [])
            shapes = [blob.shape for blob in item.blobs]
            if stored and describe_mismatch(name, stored, shapes) is not None:
                shown = _shape_list(map(blob_shape, stored))
                raise NetError(
                    f"{where}: layer '{printable(name)}' has blobs of {_shape_list(shapes)}, the"
                    f" weights {shown}; give the net they were trained with: --from NET"
                )

    def sign_source(self, inputs: Sequence[tuple[str, str, Shape]]) -> None:
        """Sign the inputs of both nets and all that the source makes of them."""
        net = self.source
        for number, (name, other, shape) in enumerate(inputs):
            signature = self.table.number(("input", number, shape))
            self.target.signatures[name] = net.signatures[other] = signature
        for item in net.layers:
            if not net.can_sign(item):
                continue  # it needs an input that the target lacks
            weights = item.layer.name if item.blobs else None
            numbers = net.sign_tops(item, weights, self.table)
            net.signatures |= zip(item.layer.top, numbers, strict=True)
            for number, top in zip(numbers, item.layer.top, strict=True):
                self.makers.setdefault(number, (item, top))

    # Which layer's weights a layer gets

    def pair_by_names(self) -> None:
        """Pair layers by names, as `pair_names` does."""
        stored = [name for name in self.source.weighted if name in self.stored]
        self.origins |= pair_names(self.target.weighted, stored, self.role)

    def pair_by_operation(self, item: LayerShapes) -> None:
        """Pair with the one layer that does the same, or of several alike with the next."""
        operation = self.target.operation(item)
        alike = [
            name
            for name in self.free_names()
            if self.source.operation(self.source.weighted[name]) == operation
        ]
        rivals = [
            name
            for name, other in self.target.weighted.items()
            if name not in self.origins
            and name not in self.missing
            and self.target.operation(other) == operation
        ]
        if alike and len(alike) != len(rivals):
            several = [" or ".join(f"'{printable(n)}'" for n in each) for each in (alike, rivals)]
            raise NetError(
                f"{self.target.place(item)}: its weights are ambiguous: {several[0]} may be those"
                f" of {several[1]}; give it the name of one"
            )
        if alike:
            self.origins[item.layer.name] = (alike[0], ORDER)

    def free_names(self) -> list[str]:
        """Return the layers of the source whose weights no layer of the target gets yet."""
        taken = {name for name, _ in self.origins.values()}
        return [n for n in self.source.weighted if n in self.stored and n not in taken]

    # The walk

    def walk_target(self) -> None:
        """Sign every blob of the target; refuse the first that the source lacks."""
        for item in self.target.layers:
            name, signed = item.layer.name, self.target.can_sign(item)
            if signed and item.blobs and name not in self.origins:
                self.pair_by_operation(item)
            if item.blobs and name not in self.origins:
                self.add_missing(item)
            elif signed:
                self.add_pair(item)
            elif item.blobs:
                raise NetError(
                    f"{self.target.place(item)}: comes after layers without weights, such as"
                    f" '{printable(self.missing[0])}', so that what it gets can't be"
                    " proven; rename it, and it starts fresh too"
                )

    def add_missing(self, item: LayerShapes) -> None:
        """Leave a layer without weights, where that is allowed."""
        self.missing.append(item.layer.name)
        if self.partial:
            return
        left = [f"'{name}'" for name in self.free_names()]
        over = f"; left over there: {first_few(left)}" if left else ""
        raise NetError(
            f"{self.target.place(item)}: {self.file} has no weights for it,"
            f" by name, dialect or what it does{over}; --partial leaves it out"
        )

    def add_pair(self, item: LayerShapes) -> None:
        """Sign a layer's tops and pair it with the source's layer that makes the same."""
        origin, _ = self.origins.get(item.layer.name, (None, ""))
        if origin is not None:
            self.check_shapes(item, origin)
        numbers = self.target.sign_tops(item, origin, self.table)
        if numbers and numbers[0] not in self.makers:
            difference = self.describe_difference(item)
            raise NetError(f"{self.target.place(item)}: the nets differ here: {difference}")
        self.target.signatures |= zip(item.layer.top, numbers, strict=True)
        if numbers:
            self.pairs.append((item, self.makers[numbers[0]][0]))

    def check_shapes(self, item: LayerShapes, origin: str) -> None:
        """Check that a layer can take the blobs of its origin."""
        shapes = [blob.shape for blob in item.blobs]
        stored = self.stored[origin]
        if describe_mismatch(origin, stored, shapes) is None:
            return
        raise NetError(
            f"{self.target.place(item)}: takes blobs of {_shape_list(shapes)}, but"
            f" '{printable(origin)}' has {_shape_list(map(blob_shape, stored))}; a layer that is to"
            " start fresh needs a name of its own, and --partial"
        )

    def describe_difference(self, item: LayerShapes) -> str:
        """Return why the source has no blob like a layer's top."""
        net, name = self.target, item.layer.name
        source = printable(self.source.graph.source)
        what = f"{item.layer.type} of {_maker_list(net, item)}"
        if name not in self.origins:
            return f"{source} has no such {what}"
        other = self.source.weighted[self.origins[name][0]]
        shown = printable(other.layer.name)
        settings = net.settings[name], self.source.settings[other.layer.name]
        for (field, value), (_, there) in zip(*settings, strict=False):
            if value != there:
                values = f"{_setting_text(value)}, but {_setting_text(there)}"
                return f"{field} is {values} in '{shown}' of {source}"
        reads = _maker_list(self.source, other)
        return f"it is a {what}, but '{shown}' of {source} reads {reads}"


def pair_names(
    targets: Iterable[str], sources: Iterable[str], role: Role
) -> dict[str, tuple[str, str]]:
    """Pair layers of equal names, then those whose names mean the same in their dialects.

    Returns:
        Name of a layer of the target -> (the source's, `name` or `dialect`), where it has one.
    """
    free = dict.fromkeys(sources)
    waiting, origins = [], {}
    for name in targets:
        if name in free:
            origins[name] = (name, NAME)
            del free[name]
        else:
            waiting.append(name)
    ours, theirs = _by_role(waiting, role), _by_role(list(free), role)
    dialects = {ours[each]: (theirs[each], DIALECT) for each in ours if each in theirs}
    return origins | dialects


def _by_role(names: Sequence[str], role: Role) -> dict[Hashable, str]:
    """Return role -> name, for roles that just one name has."""
    roles = {name: role(name) for name in names}
    count = Counter(roles.values())
    return {r: name for name, r in roles.items() if r is not None and count[r] == 1}


def _maker_list(net: SignedNet, item: LayerShapes) -> str:
    return " and ".join(f"'{printable(net.maker_name(blob))}'" for blob in item.layer.bottom)


def _shape_list(shapes: Iterable[Shape]) -> str:
    return " and ".join(map(shape_text, shapes)) or "none"


def _setting_text(value: Hashable) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "not set"
    return str(value)
