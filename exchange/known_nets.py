"""The SqueezeNets of other frameworks: their Caffe net, names of weights and preprocessing.

torchvision's (torchvision/models/squeezenet.py) round poolings up like Caffe, and don't pad the
classifier. Keras's is rcmalli's v1.1 (keras_squeezenet/squeezenet.py), converted from Caffe; its
poolings round down, so that it computes the same for images of 224x224, not of 227x227. Its
weights take what preprocess_input of keras.applications makes in its mode `caffe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from ..errors import DesignError
from ..formats.caffemodel import blob_array, blob_shape
from ..formats.schema import NetParameter
from ..generator.build import build
from ..generator.design import Design
from ..generator.naming import layer_role
from ..generator.options import command_line
from ..nets.definition import NetDefinition, parse_net
from ..nets.shapes import require_shapes
from ..weights.make_caffemodel import make_caffemodel
from ..weights.match import describe_mismatch
from .normalization import BGR, RGB, Normalization

CLASSIFIER = "conv10"
# torch's Sequential `features`: a number is that of a Fire module. What stands there gives names.
FEATURES: Final = {
    "1.0": "conv relu pool 2 3 4 pool 5 6 7 8 pool 9".split(),
    "1.1": "conv relu pool 2 3 pool 4 5 pool 6 7 8 9".split(),
}
_PARTS = ("squeeze", "expand1x1", "expand3x3")
_DEVIATION = (0.229, 0.224, 0.225)  # of R, G and B, as the means: of pixels from 0 to 1
_MEAN = (0.485, 0.456, 0.406)
_SIZE = 224
_CLASSES = 1000  # by which a design calls its classifier so


class KnownNet(NamedTuple):
    """A net of another framework.

    Attributes:
        name: whose it is, for messages.
        design: the Caffe net that computes the same.
        normalization: of its images.
    """

    name: str
    design: Design
    normalization: Normalization

    def net(self) -> NetDefinition:
        """Return the Caffe net, as `command` prints it."""
        return parse_net(build(self.design, "deploy"), self.name)

    @property
    def command(self) -> str:
        """The command that prints the Caffe net, with the mean that its images need in BGR."""
        return command_line("build", self.design, "deploy")


TORCHVISION = Normalization(
    RGB, tuple(255 * mean for mean in _MEAN), tuple(1 / (255 * each) for each in _DEVIATION)
)
KERAS = Normalization(BGR, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))


def torchvision_net(version: str, classes: int = 1000) -> KnownNet:
    """Return torchvision's squeezenet1_0 (`1.0`) or squeezenet1_1."""
    name = f"torchvision's squeezenet{version.replace('.', '_')}"
    return KnownNet(name, _design(version, classes, TORCHVISION), TORCHVISION)


def keras_net(classes: int = 1000) -> KnownNet:
    """Return rcmalli's SqueezeNet for Keras."""
    return KnownNet("Keras's SqueezeNet of rcmalli", _design("1.1", classes, KERAS), KERAS)


def _design(version: str, classes: int, normalization: Normalization) -> Design:
    mean = tuple(round(value, 6) for value in normalization.reordered(BGR).mean)
    return Design(
        version=version,
        classes=classes,
        classifier=None if classes == _CLASSES else CLASSIFIER,
        size=_SIZE,
        conv10_pad=0,
        mean_values=mean,
    )


@cache
def torchvision_names(version: str) -> dict[str, str]:
    """Return the name of each layer of the Caffe net -> torchvision's, without `.weight`."""
    names = {"conv1": "features.0", CLASSIFIER: "classifier.1"}
    for index, word in enumerate(FEATURES[version]):
        if word.isdecimal():
            names |= {
                f"fire{word}/{part}1x1" if part == "squeeze" else f"fire{word}/{part}": (
                    f"features.{index}.{part}"
                )
                for part in _PARTS
            }
    return names


def torchvision_version(layers: Sequence[str]) -> str | None:
    """Return the version whose names these are, with or without a classifier; else None."""
    for version in FEATURES:
        names = {*torchvision_names(version).values()}
        if {*layers} in (names, names - {"classifier.1"}):
            return version
    return None


def likely_torchvision_net(model: NetParameter) -> KnownNet | None:
    """Return torchvision's net that weights may be of, by the shape of their first layer."""
    shapes = {layer.name: blob_shape(layer.blobs[0]) for layer in model.layer if layer.blobs}
    first = {shape[0] for shape in shapes.values() if len(shape) == 4 and shape[1] == 3}
    last = [shape for name, shape in shapes.items() if layer_role(name) == ("classifier",)]
    if len(last) != 1 or not last[0] or first not in ({96}, {64}):
        return None
    try:
        return torchvision_net("1.0" if first == {96} else "1.1", last[0][0])
    except DesignError:  # no class, or too many
        return None


def with_definitions(model: NetParameter, known: KnownNet) -> NetParameter | None:
    """Return weights with the layers of a net, which may lack the classifier's; None if others."""
    net = known.net()
    stored = {layer.name: layer.blobs for layer in model.layer}
    arrays: dict[str, list[np.ndarray]] = {}
    missing = []
    for item in require_shapes(net, "TEST").layers:
        name, shapes = item.layer.name, [blob.shape for blob in item.blobs]
        if not shapes:
            continue
        if name not in stored and name == CLASSIFIER:
            missing.append(name)
        elif describe_mismatch(name, stored.get(name, ()), shapes) is not None:
            return None
        else:
            arrays[name] = list(map(blob_array, stored[name]))
    return make_caffemodel(net, arrays, missing) if len(arrays) == len(stored) else None


def rename_layers(model: NetParameter, names: Mapping[str, str]) -> None:
    """Rename layers of a caffemodel in place: old name -> new one."""
    for layer in model.layer:
        layer.name = names.get(layer.name, layer.name)
