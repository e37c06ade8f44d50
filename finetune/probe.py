"""A linear probe: fit the classifier of a net to the features that its other layers compute.

All images are computed once, without mirror and at their centre, as in TEST.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import numpy as np

from ..datasets.class_weights import balanced_weights
from ..engine.api import Net
from ..engine.features import cut_behind, record_features
from ..engine.image_files import BATCH_SIZE
from ..engine.open_loader import open_loader
from ..errors import NetError
from ..formats.images import OnDamage
from ..formats.schema import LayerParameter
from ..nets.data_layers import data_param, has_countable_records, is_transformed
from ..nets.definition import NetDefinition
from ..nets.deploy import deploy_net
from ..nets.layer_types import Shape
from ..text import first_few, printable
from .classifier import Classifier, find_classifier
from .logistic_regression import LogisticRegression, fit
from .pretrained import is_bypass_convolution


class Probe(NamedTuple):
    """A net whose classifier was fitted.

    Attributes:
        net: with all weights.
        classifier: which layer that is, and what it reads.
        images: number of images.
        regression: the classifier's weights, and how well they do.
    """

    net: Net
    classifier: Classifier
    images: int
    regression: LogisticRegression


def fit_classifier(
    net: NetDefinition,
    weights: str,
    data: str | None = None,
    *,
    balanced: bool = False,
    seed: int = 0,
    on_damage: OnDamage = lambda line: None,
) -> Probe:
    """Fit the classifier of a train_val net to its training data.

    Convolutions of bypasses that the weights lack become 0, so that they change no features.

    Args:
        net: a train_val net.
        weights: a caffemodel with the weights of all layers but the classifier.
        data: an LMDB or list in place of that of the net's data layer.
        balanced: weigh each class the same, however many images it has.
        seed: of the cross-validation.
        on_damage: called with a line about each image whose pixels are damaged.

    Raises:
        SqgenError: the net has no linear classifier or no labelled data, a record can't be read or
            has no class of the net's, or the weights lack other layers.
    """
    layer = _data_layer(net, data)
    deploy = NetDefinition(deploy_net(net, known=_known_shapes(net, layer)).param, net.source)
    classifier = find_classifier(deploy)
    whole = Net(deploy, weights, partial=True)
    lacking = [
        name
        for name in whole.uninitialized
        if name != classifier.layer and not is_bypass_convolution(name)
    ]
    if lacking:
        raise NetError(
            f"{printable(weights)}: has no weights for {first_few(lacking)} of"
            f" {printable(net.source)}; sqgen weights map renames those of another net"
        )
    cut, blob = cut_behind(deploy, classifier.features)
    parts = list(record_features(cut, weights, layer, blob, classifier.pools, on_damage))
    values = np.concatenate([part.values.reshape(len(part.values), -1) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    _check_labels(labels, classifier, net)
    counts = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    class_weights = balanced_weights(counts, classifier.classes) if balanced else None
    regression = fit(values, labels, classifier.classes, class_weights=class_weights, seed=seed)
    whole.set_blobs(classifier.layer, classifier.blobs(regression.weights, regression.bias))
    return Probe(whole, classifier, len(labels), regression)


def _data_layer(net: NetDefinition, data: str | None) -> LayerParameter:
    """Return the data layer of TRAIN as one of TEST."""
    where = printable(net.source)
    layers = [layer for layer in net.layers("TRAIN") if is_transformed(layer)]
    if len(layers) != 1 or not has_countable_records(layers[0]) or len(layers[0].top) < 2:
        raise NetError(f"{where}: needs one data layer of images with labels in TRAIN")
    layer = LayerParameter()
    layer.CopyFrom(layers[0])
    layer.ClearField("include")
    layer.ClearField("exclude")
    layer.transform_param.mirror = False
    param = data_param(layer)
    param.source = data if data is not None else param.source
    param.batch_size = BATCH_SIZE
    for name in ("shuffle", "rand_skip"):
        if name in param.DESCRIPTOR.fields_by_name:
            param.ClearField(name)
    return layer


def _known_shapes(net: NetDefinition, layer: LayerParameter) -> dict[str, list[Shape]]:
    """Return the shapes of the tops of data layers of TEST, which read the images of `layer`."""
    where = f"{net.place(None)}: layer '{printable(layer.name)}'"
    with closing(open_loader(layer, "TEST", seed=0, where=where)) as loader:
        shapes = loader.top_shapes
    return {each.name: shapes for each in net.layers("TEST") if is_transformed(each)}


def _check_labels(labels: np.ndarray, classifier: Classifier, net: NetDefinition) -> None:
    """Check that each label is one of the classes, and that there are two of them.

    Raises:
        NetError: it is not.
    """
    found = np.unique(labels).tolist()
    if found[0] < 0 or found[-1] >= classifier.classes:
        wrong = found[0] if found[0] < 0 else found[-1]
        raise NetError(
            f"{printable(net.source)}: a label is {wrong}, and layer"
            f" '{printable(classifier.layer)}' has {classifier.classes} classes"
        )
    if len(found) == 1:
        raise NetError(
            f"{printable(net.source)}: all images have label {found[0]}; give two or more"
        )
