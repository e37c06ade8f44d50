"""Features: a blob of a net for each image of files, folders and LMDBs.

The net is cut off behind the blob, so that the layers after it need no weights and take no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from ..errors import FormatError, NetError
from ..formats.caffemodel import read_caffemodel
from ..formats.images import OnDamage
from ..formats.schema import DataParameter, LayerParameter, NetParameter
from ..host import available_cores
from ..nets.data_layers import data_param
from ..nets.definition import NetDefinition
from ..nets.graph import Graph, build_graph
from ..text import did_you_mean, printable
from .api import Net
from .classify import Preprocessing
from .executor import Executor
from .image_files import BATCH_SIZE, load_batches
from .open_loader import open_loader


class Features(NamedTuple):
    """The features of some images.

    Attributes:
        names: files, or keys of an LMDB.
        values: (images, ...) as float32; (images, channels) where they are pooled.
        labels: (images,) of an LMDB; None of files.
    """

    names: list[str]
    values: np.ndarray
    labels: np.ndarray | None


def cut_behind(net: NetDefinition, name: str) -> tuple[NetDefinition, str]:
    """Return the layers that a blob needs in TEST, and the name of the blob.

    Args:
        net: a deploy net.
        name: of the blob, or of a layer with one top. Layers in place after that are part of it,
            as in Caffe's extract_features.

    Raises:
        NetError: there is no such blob or layer.
    """
    graph = build_graph(net.layers("TEST"))
    blob = name if name in graph.makers else _only_top(graph, net.source, name)
    needed, queue = set(), [graph.makers[blob][-1].layer]
    while queue:
        index = queue.pop()
        if index not in needed:
            needed.add(index)
            queue += [top.layer for top in graph.nodes[index].sources if top is not None]
    param = NetParameter(name=net.param.name)
    param.layer.extend(node.layer for node in graph.nodes if node.index in needed)
    return NetDefinition(param, net.source, level=net.level, stages=net.stages), blob


def _only_top(graph: Graph[LayerParameter], source: str, name: str) -> str:
    tops = {node.layer.name: node.tops for node in graph.nodes}
    if name not in tops:
        hint = did_you_mean(name, [*graph.makers, *tops])
        raise NetError(f"{printable(source)}: no layer '{printable(name)}'{hint}")
    if len(tops[name]) != 1:
        shown = ", ".join(map(printable, tops[name])) or "none"
        raise NetError(f"{printable(source)}: layer '{printable(name)}' makes {shown}; give one")
    return tops[name][0]


def file_features(
    net: Net,
    preprocessing: Preprocessing,
    paths: Iterable[str],
    blob: str,
    pool: bool = False,
    on_damage: OnDamage = lambda line: None,
) -> Iterator[Features | FormatError]:
    """Yield the features of image files batch by batch, and the error of each that is no image.

    Args:
        net: ends in the blob (`cut_behind`).
        preprocessing: from a file to the net's input.
        paths: of the files.
        blob: its name.
        pool: average over positions.
        on_damage: called with a line about each file whose pixels are damaged.
    """
    for batch in load_batches(paths, preprocessing.load_image):
        names, images = [], []
        for file in batch:
            for line in file.damage:
                on_damage(line)
            if isinstance(file.pixels, FormatError):
                yield file.pixels
            else:
                names.append(file.path)
                images.append(file.pixels)
        if images:
            values = net.forward(np.stack(images))[blob]
            yield Features(names, _pooled(values) if pool else values, None)


def record_features(
    net: NetDefinition,
    weights: str,
    data: LayerParameter,
    blob: str,
    pool: bool = False,
    on_damage: OnDamage = lambda line: None,
) -> Iterator[Features]:
    """Yield the features of the records of a data layer batch by batch.

    Args:
        net: ends in the blob (`cut_behind`); its input is the first top of `data`.
        weights: its caffemodel; layers that it lacks keep their fillers' values.
        data: a layer that reads images and, as its second top, labels; as in TEST.
        blob, pool, on_damage: as of `file_features`.

    Raises:
        SqgenError: a record can't be read, or does not fit the net.
    """
    param = NetParameter(name=net.param.name)
    param.layer.append(data)
    param.layer.extend(layer for layer in net.param.layer if layer.type != "Input")
    where = printable(data_param(data).source)
    threads = available_cores()
    loader = open_loader(
        data, "TEST", seed=0, where=where, exact=True, on_damage=on_damage, threads=threads
    )
    try:
        executor = Executor(NetDefinition(param, net.source), "TEST", loaders={data.name: loader})
        executor.load(read_caffemodel(weights), printable(weights))
        keys = loader.keys()
        for _ in range(0, loader.records, loader.batch_size):
            blobs = executor.forward(keep={blob, data.top[1]})
            values, labels = blobs[blob], blobs[data.top[1]].astype(np.int64)
            names = list(islice(keys, len(labels)))
            yield Features(names, _pooled(values) if pool else values, labels)
    finally:
        loader.close()


def data_layer(preprocessing: Preprocessing, top: str, source: str) -> LayerParameter:
    """Return the Data layer that reads an LMDB as `preprocessing` says; it resizes nothing."""
    layer = LayerParameter(name=top, type="Data", top=[top, f"{top} label"])
    layer.data_param.source, layer.data_param.batch_size = source, BATCH_SIZE
    layer.data_param.backend = DataParameter.LMDB
    height, width = preprocessing.crop
    if height == width:
        layer.transform_param.crop_size = height
    layer.transform_param.mean_value[:] = preprocessing.mean
    layer.transform_param.scale = preprocessing.scale
    return layer


def _pooled(values: np.ndarray) -> np.ndarray:
    """Average (images, channels, ...) over the positions."""
    pooled: np.ndarray = values.reshape(*values.shape[:2], -1).mean(2)
    return pooled
