"""The files of a pruned net: prototxts, weights, and the design that builds it, where one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compress.bits_file import MAXIMUM_BITS
from ..compress.encoding import Settings, encode
from ..errors import DesignError, NetError, SqgenError
from ..formats.caffemodel import encode_caffemodel
from ..formats.prototxt import to_text
from ..formats.pruning_images import note_images
from ..formats.schema import NetParameter
from ..generator.build import build, design_files
from ..generator.bypass import spell
from ..generator.design import Design
from ..generator.layer_list import design_naming
from ..generator.naming import layer_name
from ..generator.options import format_design
from ..generator.recognize import BuiltNet, find_design, has_header
from ..nets.definition import NetDefinition, parse_net
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..nets.shapes import require_shapes
from ..nets.totals import Totals, totals
from ..weights.make_caffemodel import make_caffemodel

TRAIN_VAL, DEPLOY = "train_val.prototxt", "deploy.prototxt"
WEIGHTS, DESIGN = "pruned.caffemodel", "design.toml"
RECORD = "prune.json"  # what was done
RATIOS = "ratios.toml"  # the shares that layers keep
SQZ = "pruned.sqz"  # what --bytes counts
FILES = (
    TRAIN_VAL,
    DEPLOY,
    "solver.prototxt",
    WEIGHTS,
    DESIGN,
    SQZ,
    RECORD,
)  # all that there may be


@dataclass(frozen=True)
class PrunedNet:
    """A net without some channels.

    Attributes:
        whole: the net that was pruned.
        definition: what is left of it.
        arrays: the weights that are left, by layer.
        image: (channels, height, width) of the records of data layers that don't say.
        built: the design that builds `definition`, and which of its nets it is; or None.
        undesigned: why no design builds it, of a net that one should; else empty.
    """

    whole: NetDefinition
    definition: NetDefinition
    arrays: Mapping[str, Sequence[np.ndarray]]
    image: Shape | None
    built: BuiltNet | None
    undesigned: str = ""
    _sqz: dict[int, bytes] = field(default_factory=dict, repr=False, compare=False)

    @property
    def savings(self) -> tuple[Totals, Totals]:
        """Totals before and after."""
        before, after = (
            totals(require_shapes(net, "TEST", self.image)) for net in (self.whole, self.definition)
        )
        return before, after

    def sqz(self, bits: int = MAXIMUM_BITS) -> bytes:
        """Return the net's .sqz file, as `sqgen compress encode --bits` makes it; takes seconds."""
        if bits not in self._sqz:
            model, settings = make_caffemodel(self.definition, self.arrays), Settings(bits=bits)
            made = encode(model, self.definition, settings, source=WEIGHTS, image=self.image)
            self._sqz[bits] = made.bytes
        return self._sqz[bits]

    def files(self, header: str, seen: Sequence[str] = ()) -> dict[str, bytes]:
        """Return the files by name, but for `RECORD`.

        Args:
            header: the comment that begins a prototxt that no design builds.
            seen: digests of the images that the weights were pruned on, to note in them.
        """
        texts = self._texts(header)
        model = make_caffemodel(self.definition, self.arrays)
        note_images(model, seen)
        return {
            **{name: text.encode() for name, text in texts.items()},
            WEIGHTS: encode_caffemodel(model, WEIGHTS),
        }

    def _texts(self, header: str) -> dict[str, str]:
        if self.built is not None:
            return {**design_files(self.built.design), DESIGN: format_design(self.built.design)}
        text = header + to_text(self.definition.param)
        if not self.definition.layers("TRAIN") or _is_deploy(self.definition.param):
            return {DEPLOY: text}
        texts = {TRAIN_VAL: text}
        with suppress(SqgenError):  # of a net of which there is none
            made = deploy_net(self.definition, image=self.image)
            texts[DEPLOY] = header + to_text(made.param)
        return texts


def _is_deploy(param: NetParameter) -> bool:
    return any(layer.type == "Input" for layer in param.layer)


def make_pruned_net(
    whole: NetDefinition,
    param: NetParameter,
    arrays: Mapping[str, Sequence[np.ndarray]],
    image: Shape | None = None,
) -> PrunedNet:
    """Check what is left of a net, and find the design that builds it.

    Args:
        whole: the net.
        param: what is left of it.
        arrays: its weights.
        image: (channels, height, width) of the records of data layers that don't say.

    Raises:
        NetError: Caffe would refuse it.
    """
    definition = parse_net(to_text(param), whole.source)
    for phase in ("TRAIN", "TEST"):
        if definition.layers(phase):
            require_shapes(definition, phase, image)
    whole_design = find_design(whole)
    if whole_design is None:
        reason = "the net is another than its header's command builds" if has_header(whole) else ""
        return PrunedNet(whole, definition, arrays, image, None, reason)
    try:
        built = _pruned_design(whole_design, definition)
    except SqgenError as error:
        return PrunedNet(whole, definition, arrays, image, None, str(error))
    return PrunedNet(whole, definition, arrays, image, built)


def _pruned_design(whole: BuiltNet, left: NetDefinition) -> BuiltNet:
    """Return the design of what is left of a net that a design builds.

    Raises:
        SqgenError: none does.
    """
    sizes = _sizes(whole.design, left)
    for changes in (sizes, {**sizes, "bypass": spell(whole.design.bypasses)}):
        # The name of a net says "custom" of bypasses that no word describes any more.
        for more in ({}, {"name": left.param.name}):
            with suppress(DesignError):
                design = whole.design.with_options(**changes, **more)
                if parse_net(build(design, whole.net)).param == left.param:
                    return BuiltNet(design, whole.net)
    raise NetError("no design builds what is left")


def _sizes(design: Design, left: NetDefinition) -> dict[str, Any]:
    """Return the options of a design for the numbers of filters that are left."""
    outputs = {layer.name: layer.convolution_param.num_output for layer in left.param.layer}
    naming = design_naming(design)
    patterns = (naming.squeeze, naming.expand1x1, naming.expand3x3)
    fires = [
        tuple(outputs[layer_name(pattern, module)] for pattern in patterns)
        for module in design.modules
    ]
    return {"stem_filters": outputs["conv1"], "fires": tuple(fires)}
