"""Suggest `sqgen weights map` where it makes more layers of a net fit a caffemodel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import product

from ..errors import SqgenError
from ..formats.caffemodel import read_caffemodel
from ..nets.dataset import Dataset
from ..nets.definition import NetDefinition, read_net
from ..nets.inference_graph import inference_graph, inference_graph_of_model
from ..text import printable, shell_join
from ..weights.mapping import map_weights

MAPPED = "mapped.caffemodel"


def suggest_mapping(weights: str, net: NetDefinition, data: Sequence[Dataset], fitting: int) -> str:
    """Return the end of a message that names the command; empty where it would not help.

    Args:
        weights: the caffemodel, as given.
        net: the net to run.
        data: of its data layers, for the size of images.
        fitting: number of layers that the weights fit already.
    """
    images = [None, *(dataset.image for dataset in data[:1] if dataset.image is not None)]
    try:
        model, file = read_caffemodel(weights), read_net(net.source)  # what the command reads
    except SqgenError:
        return ""
    for image, ignore_bypass, partial in product(images, (False, True), (False, True)):
        with suppress(SqgenError):
            source = inference_graph_of_model(model, weights, image)
            target = inference_graph(file, image)
            mapped = map_weights(
                source, target, model, partial=partial, ignore_bypass=ignore_bypass
            )
            if len(mapped.rows) > fitting:
                words = ["sqgen", "weights", "map", weights, MAPPED, "--to", net.source]
                words += ["--image", "x".join(map(str, image))] if image is not None else []
                words += ["--ignore-bypass"] if ignore_bypass else []
                words += ["--partial"] if partial else []
                return f"; {printable(shell_join(words))} renames {len(mapped.rows)}"
    return ""
