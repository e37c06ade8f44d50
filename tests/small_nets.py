"""Small nets of random shape with weights and outputs, for tests of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sqgen import Design, DesignError, build, parse_net
from sqgen.formats.caffemodel import fill_blob
from sqgen.formats.schema import NetParameter
from sqgen.nets.shapes import require_shapes

Array = np.ndarray[Any, Any]

INPUT = (
    'layer {{ name: "in" type: "Input" top: "data" input_param {{ shape {{ dim: 1 dim: {channels}'
    " dim: {height} dim: {width} }} }} }}\n"
)


def net_input(channels: int = 3, height: int = 9, width: int = 7) -> str:
    """An Input layer."""
    return INPUT.format(channels=channels, height=height, width=width)


def layer(kind: str, name: str, bottoms: str, top: str | None = None, rest: str = "") -> str:
    """A layer; bottoms are separated by blanks."""
    read = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {read} top: "{top or name}" {rest} }}\n'


def conv(name: str, bottom: str, outputs: int, kernel: int = 1, more: str = "") -> str:
    """A Convolution that keeps the size."""
    fields = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} {more}"
    return layer("Convolution", name, bottom, rest=f"convolution_param {{ {fields} }}")


def random_model(text: str, seed: int = 0, definitions: bool = True) -> Any:
    """A NetParameter with weights for the TEST layers of a net.

    Args:
        text: the net's prototxt.
        seed: of the weights; each number is another.
        definitions: whether it has those of the layers, as Caffe's own have.
    """
    random = np.random.default_rng(seed)
    net = parse_net(text)
    model = NetParameter(name=net.param.name)
    for item in require_shapes(net, "TEST").layers:
        written = model.layer.add(name=item.layer.name, type=item.layer.type)
        if definitions:
            written.CopyFrom(item.layer)
        for blob in item.blobs:
            values = random.normal(0, 0.4, blob.shape)
            if item.layer.type == "BatchNorm":
                values = np.abs(values) + 0.5
            fill_blob(written.blobs.add(), values.astype(np.float32))
    return model


def save(model: Any, path: Path) -> str:
    """Write a model; its path."""
    path.write_bytes(bytes(model.SerializeToString()))
    return str(path)


def outcome(text: str, weights: Path, seed: int = 3) -> dict[str, Array]:
    """What a net with one input gives of a random one, in float64."""
    from sqgen import Net

    net = Net(parse_net(text), weights, precision="fp64")
    shape = next(iter(net.inputs.values()))
    image = np.random.default_rng(seed).normal(0, 2, (2, *shape[1:]))
    return net.forward(image)


@st.composite
def twins(draw: st.DrawFn) -> tuple[str, str]:
    """Deploy nets of one function, in two dialects and orders of a Concat."""
    common: dict[str, Any] = {
        "fire_modules": draw(st.integers(1, 5)),
        "base_e": draw(st.integers(4, 12)),
        "incr_e": draw(st.integers(0, 6)),
        "freq": draw(st.integers(1, 3)),
        "pct3x3": draw(st.floats(0.2, 0.8)),
        "squeeze_ratio": draw(st.floats(0.2, 1)),
        "fires": draw(
            st.none() | st.lists(st.tuples(*[st.integers(1, 6)] * 3), min_size=1, max_size=5)
        ),
        "stem_filters": draw(st.integers(2, 8)),
        "size": draw(st.integers(30, 40)),
        "stem": "small",
        "classes": draw(st.integers(2, 9)),
        "batch_norm": draw(st.booleans()),
        "bypass_relu": draw(st.booleans()),
        "bypass": draw(st.sampled_from(["none", "complex", "2:conv,3", "3", "2:conv"])),
        "conv10_pad": draw(st.integers(0, 1)),
        # Where BatchNorm stands is the style's: a pair has one of them.
        "style": draw(st.sampled_from(["clean", "generator"])),
    }
    made = []
    for _ in range(2):
        own: dict[str, Any] = {
            "naming": draw(st.sampled_from(["squeezenet", "residual", "firenet", "generator"])),
            "concat_order": draw(st.sampled_from(["1x1,3x3", "3x3,1x1"])),
            "explicit_pool10": draw(st.booleans()),
        }
        try:
            design = Design(**common, **own)
            assert design.bypasses is not None
        except DesignError:
            common |= {"bypass": "none"}
            design = Design(**common, **own)
        made.append(build(design, "deploy"))
    return made[0], made[1]


class _Twin:
    """Two texts that grow layer by layer, the second with other names."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.texts = [net_input(4, 6, 5), net_input(4, 6, 5)]
        self.free = {"data": 4}  # blobs that nobody has read
        self.channels = {"data": 4}
        self.count = 0

    def pick(self, like: int | None = None) -> str:
        """A blob, of some number of channels where that matters; unread ones first."""
        blobs = [b for b in (*self.free, *self.channels) if like in (None, self.channels[b])]
        return self.draw(st.sampled_from(blobs[:3] + blobs[-2:]))

    def add(self, kind: str, bottoms: list[str], made: int, rest: str, shuffle: bool) -> str:
        """A layer in both; its bottoms in another order in the second, and maybe its name."""
        self.count += 1
        name = f"l{self.count}"
        other = name if self.draw(st.integers(0, 3)) else f"x{self.count}"
        orders = [bottoms, self.draw(st.permutations(bottoms)) if shuffle else bottoms]
        names = (name, other)
        for index, (order, own) in enumerate(zip(orders, names, strict=True)):
            self.texts[index] += layer(kind, own, " ".join(order), name, rest)
        for bottom in bottoms:
            self.free.pop(bottom, None)
        self.free[name] = self.channels[name] = made
        return name

    def convolution(self, bottom: str, outputs: int) -> str:
        """A Convolution, one in three with two groups."""
        even = self.channels[bottom] % 2 == 0 == outputs % 2
        group = self.draw(st.sampled_from([1, 1, 2])) if even else 1
        fields = f"num_output: {outputs} kernel_size: 3 pad: 1 group: {group}"
        rest = f"convolution_param {{ {fields} }}"
        return self.add("Convolution", [bottom], outputs, rest, False)

    def grow(self) -> None:
        """One more layer of some kind."""
        kind = self.draw(
            st.sampled_from("Concat Convolution Eltwise ReLU PReLU BatchNorm Scale LRN".split())
        )
        bottom = self.pick()
        size = self.channels[bottom]
        if kind == "Concat":
            parts = list(dict.fromkeys([bottom, self.pick(), self.convolution(self.pick(), 4)]))
            self.add(kind, parts, sum(self.channels[p] for p in parts), "", True)
        elif kind == "Eltwise":
            operation = self.draw(st.sampled_from(["SUM", "MAX"]))
            rest = f"eltwise_param {{ operation: {operation} }}"
            beside = self.pick(size)
            if beside == bottom or self.draw(st.booleans()):
                beside = self.convolution(self.pick(), size)
            self.add(kind, [bottom, beside], size, rest, True)
        elif kind == "Convolution":
            self.convolution(bottom, self.draw(st.sampled_from([4, 4, 6])))
        else:
            rest = "scale_param { bias_term: true }" if kind == "Scale" else ""
            across = self.draw(st.sampled_from(["ACROSS_CHANNELS", "WITHIN_CHANNEL"]))
            rest = f"lrn_param {{ norm_region: {across} }}" if kind == "LRN" else rest
            self.add(kind, [bottom], size, rest, False)

    def end(self) -> tuple[str, str]:
        """All that is unread, joined and read by an InnerProduct."""
        parts = list(self.free)
        last = parts[0]
        if len(parts) > 1:
            last = self.add("Concat", parts, sum(self.free.values()), "", True)
        self.add("InnerProduct", [last], 3, "inner_product_param { num_output: 3 }", False)
        return self.texts[0], self.texts[1]


@st.composite
def wild_twins(draw: st.DrawFn) -> tuple[str, str]:
    """Nets of any shape whose Concats and Eltwises read in another order.

    They need not be of one function: groups, sums and LRN may forbid it.
    """
    twin = _Twin(draw)
    twin.convolution(twin.convolution("data", 4), 4)
    for _ in range(draw(st.integers(3, 12))):
        twin.grow()
    return twin.end()
