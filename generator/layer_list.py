"""List the layers of a design in order, with their connections and fields.

A layer's `kind` names the macro of `templates/layers.j2` that writes it. The text omits fields that
are None; the design's style decides which defaults are written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..nets.imagenet import IMAGENET_CLASSES
from .design import Design
from .design_fields import STEM_WINDOWS
from .fire import Fire
from .naming import NAMINGS, Naming, layer_name
from .style import STYLES, Style

# Kind of net -> its phases.
NET_PHASES: dict[str, tuple[str, ...]] = {
    "trainval": ("TRAIN", "TEST"),
    "train": ("TRAIN",),
    "val": ("TEST",),
    "deploy": ("TEST",),
}
TOP_K = 5


class Layer(NamedTuple):
    """A layer to write.

    Attributes:
        kind: the macro that writes it.
        name, bottoms, tops: as in the prototxt.
        fields: other values that the macro writes.
        comment: a line above it, or empty.
        after: a line below it, or empty.
    """

    kind: str
    name: str
    bottoms: list[str]
    tops: list[str]
    fields: dict[str, Any]
    comment: str = ""
    after: str = ""


class LayerList(NamedTuple):
    """A net to write: its name, its layers, and the input header of an old deploy net."""

    name: str
    layers: list[Layer]
    input_header: str = ""
    input_shape: tuple[int, ...] = ()


def list_layers(design: Design, net: str) -> LayerList:
    """List the layers of one of `NET_PHASES` for a design."""
    return _Builder(design, net).build()


def design_naming(design: Design) -> Naming:
    """Return the layer names of a design: its own choice, or its style's."""
    return NAMINGS[design.naming or STYLES[design.style].naming]


class _Builder:
    """Appends layers from the data to the accuracies; `self.blob` is the last top."""

    def __init__(self, design: Design, net: str) -> None:
        self.design = design
        self.phases = NET_PHASES[net]
        self.style: Style = STYLES[design.style]
        self.names = design_naming(design)
        self.deploy = net == "deploy"
        self.fillers = not self.deploy or self.style.deploy_fillers
        self.layers: list[Layer] = []
        self.blob = "data"
        self.heading = ""

    def build(self) -> LayerList:
        design, style = self.design, self.style
        shape = (design.deploy_batch or style.deploy_batch, *design.image)
        header = style.deploy_input if self.deploy else "layer"
        if not self.deploy:
            self.data()
        elif header == "layer":
            self.add("input", "data", [], ["data"], shape=shape)
        self.stem()
        for fire in design.fire_filters:
            self.fire(fire)
        self.classifier()
        self.outputs()
        name = self.net_name() if design.name is None else design.name
        return LayerList(name, self.layers, "" if header == "layer" else header, shape)

    def net_name(self) -> str:
        design = self.design
        if design.style != "clean":
            return self.style.name
        kind = design.bypass if design.bypass in ("simple", "complex") else "custom"
        # An identifier, since X2Paddle makes a class of it.
        stem = f"SqueezeNet_v{design.version}".replace(".", "_")
        return stem + (f"_{kind}_bypass" if design.bypasses else "")

    def add(self, kind: str, name: str, bottoms: list[str], tops: list[str], **fields: Any) -> None:
        """Append a layer; `self.heading` becomes the comment above it."""
        self.layers.append(Layer(kind, name, bottoms, tops, fields, self.heading))
        self.heading = ""
        if tops:
            self.blob = tops[0]

    # Data

    def data(self) -> None:
        for phase in self.phases:
            self.add(
                "image_data" if self.design.backend == "imagedata" else "data",
                "data",
                [],
                ["data", "label"],
                include=self.include(phase),
                **self.transform(phase),
                **self.source(phase),
            )

    def transform(self, phase: str) -> dict[str, Any]:
        design = self.design
        train = phase == "TRAIN"
        mirror = True if train and design.mirror else None
        if self.style.mirror_off and mirror is None:
            mirror = False
        return {
            "mirror": mirror,
            "crop": design.size if design.crop else None,
            "means": design.means,
            "mean_file": design.mean_file or None,
            "scale": design.scale if design.scale != 1 else None,
            "gray": True if design.channels == 1 and design.backend != "imagedata" else None,
        }

    def source(self, phase: str) -> dict[str, Any]:
        design = self.design
        train = phase == "TRAIN"
        common = {
            "source": design.train_source if train else design.val_source,
            "batch_size": design.batch_size if train else design.val_batch_size,
        }
        if design.backend != "imagedata":
            return {**common, "backend": design.backend.upper()}
        # As for ImageNet, where 227 of 256 pixels are cropped.
        side = round(design.size * 256 / 227) if design.crop else design.size
        return {
            **common,
            "shuffle": True if train else None,
            "side": side,
            "is_color": False if design.channels == 1 else None,
        }

    # Convolutions

    def convolution(
        self,
        name: str,
        filters: int,
        kernel: int,
        *,
        pad: int = 0,
        stride: int = 1,
        filler: str | None = None,
        lr: float = 1.0,
        relu: str | None = None,
    ) -> None:
        """Append a convolution, and unless `relu` is None, its BatchNorm if any and its ReLU."""
        explicit = self.style.explicit
        self.add(
            "convolution",
            name,
            [self.blob],
            [name],
            multipliers=self.multipliers(lr),
            filters=filters,
            pad=pad if pad or explicit else None,
            kernel=kernel,
            stride=stride if stride != 1 or explicit else None,
            filler=(filler or self.design.filler) if self.fillers else None,
            bias_filler=explicit and self.fillers,
        )
        if relu is None:
            return
        self.batch_norm(name)
        self.add("relu", relu, [self.blob], [self.blob])

    def multipliers(self, lr: float) -> list[tuple[float, float]]:
        """Return (lr_mult, decay_mult) of weights and bias; none if they are the defaults."""
        if self.deploy and not self.style.multipliers:
            return []
        if lr == 1 and not self.style.multipliers:
            return []
        return [(lr, 1), (2 * lr, 0)]

    def batch_norm(self, conv: str) -> None:
        """Append BatchNorm after a convolution: in place with a Scale, or as the style does."""
        if not self.design.batch_norm:
            return
        name = layer_name(self.names.batch_norm, 0, conv)
        if self.style.bare_batch_norm:
            self.add("batch_norm", name, [self.blob], [name], frozen=True)
        else:
            self.add("batch_norm", name, [self.blob], [self.blob], frozen=False)
            self.add("scale", layer_name(self.names.scale, 0, conv), [self.blob], [self.blob])

    def relu_name(self, conv: str) -> str:
        return layer_name(self.names.relu, 0, conv)

    # The net

    def stem(self) -> None:
        kernel, stride, pad = STEM_WINDOWS[self.design.stem_kind]
        self.convolution(
            "conv1",
            self.design.conv1_filters,
            kernel,
            stride=stride,
            pad=pad,
            relu=self.relu_name("conv1"),
        )
        self.max_pool("pool1")

    def max_pool(self, name: str) -> None:
        self.add("pooling", name, [self.blob], [name], method="MAX", kernel=3, stride=2)

    def fire(self, fire: Fire) -> None:
        names, module = self.names, fire.module
        kind = self.design.bypasses.get(module)
        self.heading = f"fire{module}: {fire.inputs} channels, squeezed to {fire.squeeze}"
        entrance = self.blob
        squeeze = layer_name(names.squeeze, module)
        self.convolution(squeeze, fire.squeeze, 1, relu=self.relu_name(squeeze))
        squeezed = self.blob
        expanded = []
        for pattern, filters, kernel in (
            (names.expand1x1, fire.expand1x1, 1),
            (names.expand3x3, fire.expand3x3, 3),
        ):
            self.blob = squeezed
            expand = layer_name(pattern, module)
            self.convolution(expand, filters, kernel, pad=kernel // 2, relu=self.relu_name(expand))
            expanded.append(self.blob)
        if self.design.concat_order == "3x3,1x1":
            expanded.reverse()
        concat = layer_name(names.concat, module)
        self.add("concat", concat, expanded, [concat])
        if kind is not None:
            self.bypass(fire, kind, entrance)
        around = {None: "", "identity": ", bypassed", "conv": ", bypassed by a convolution"}[kind]
        end = f"fire{module} ends: {fire.outputs} channels{around}"
        self.layers[-1] = self.layers[-1]._replace(after=end)
        if module in self.design.pools:
            self.max_pool(f"pool{module}")

    def bypass(self, fire: Fire, kind: str, entrance: str) -> None:
        names, module, style = self.names, fire.module, self.style
        inside, around = self.blob, entrance
        if kind == "conv":
            around = layer_name(names.bypass_conv, module)
            self.blob = entrance
            relu = layer_name(names.bypass_relu, module) if self.design.bypass_relu else None
            self.convolution(around, fire.outputs, 1)
            if not style.bare_batch_norm:
                self.batch_norm(around)
            if relu:
                self.add("relu", relu, [around], [around])
        bottoms = [around, inside] if style.bypass_first else [inside, around]
        top = layer_name(names.bypass_top, module)
        normalized = self.design.batch_norm and style.bare_batch_norm
        operation = "SUM" if style.explicit else None
        self.add(
            "eltwise",
            layer_name(names.bypass, module),
            bottoms,
            [layer_name(names.sum, module) if normalized else top],
            operation=operation,
        )
        if normalized:
            self.add(
                "batch_norm", layer_name(names.sum_norm, module), [self.blob], [top], frozen=True
            )

    def classifier(self) -> None:
        design, names = self.design, self.names
        number = design.modules[-1] + 1
        default = layer_name(names.classifier, number)
        is_default = design.classes == IMAGENET_CLASSES
        name = design.classifier or (default if is_default else f"{default}_{design.classes}")
        lr, renamed = design.classifier_lr, name != default
        if design.dropout and (not self.deploy or self.style.deploy_dropout):
            blob = self.blob
            self.add("dropout", f"drop{number - 1}", [blob], [blob], ratio=design.dropout)
        self.heading = f"classifier: {design.classes} classes"
        relu = layer_name(names.classifier_relu, number, default)
        self.convolution(
            name,
            design.classes,
            1,
            pad=design.classifier_pad,
            filler=design.classifier_filler,
            lr=lr if lr is not None else 10.0 if renamed else 1.0,
            relu=relu if design.classifier_relu else None,
        )
        if not design.classifier_relu:
            self.batch_norm(name)
        pool = layer_name(names.last_pool, number)
        kernel = design.extents["classifier"] if design.explicit_pool10 else None
        self.add("pooling", pool, [self.blob], [pool], method="AVE", kernel=kernel, stride=None)

    def outputs(self) -> None:
        style, scores = self.style, self.blob
        if self.deploy:
            if style.deploy_softmax:
                self.add("softmax", "prob", [scores], ["prob"])
            return
        labelled = [scores, "label"]
        if style.loss_phase in (None, "any", *self.phases):
            matrix = self.design.infogain_file or None
            include = self.include(style.loss_phase)
            self.add("loss", "loss", labelled, ["loss"], include=include, matrix=matrix)
        if style.accuracy_phase == "TEST" and "TEST" not in self.phases:
            return
        include = self.include(style.accuracy_phase)
        top1_k = 1 if style.top1_k else None
        self.add("accuracy", style.top1, labelled, [style.top1], include=include, top_k=top1_k)
        if self.design.classes >= TOP_K:
            name = "accuracy_top5"
            self.add("accuracy", name, labelled, [name], include=include, top_k=TOP_K)

    def include(self, phase: str | None) -> str | None:
        """Return the include rule to write: none in a net of a single phase."""
        return phase if len(self.phases) > 1 else None
