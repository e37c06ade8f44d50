"""Open a net and the data that it reads, logging what `caffe` logs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..counter_rng import key
from ..nets.data_layers import has_countable_records
from ..nets.definition import NetDefinition
from ..text import printable
from . import glog
from .distributed.shards import ONE_SHARD, Shards
from .executor import Executor
from .hdf5_loader import Hdf5Loader
from .loader import Loader
from .open_loader import open_loader
from .setup_log import SourceLog, log_exclusions, log_net_parameters
from .workers import Workers

if TYPE_CHECKING:
    from ..formats.schema import LayerParameter


@dataclass
class EngineOptions:
    """The options that all nets of a process share.

    Attributes:
        precision: fp32, bf16 or fp64.
        device: PyTorch's name of the device.
        workers: the compute threads.
        seed: of fillers, dropout, dummy data, and the order and transforms of records.
        exact: read each record once (`test` only).
        shards: whose batches data layers read.
    """

    precision: str
    device: str
    workers: Workers
    seed: int
    exact: bool = False
    shards: Shards = ONE_SHARD


def open_net(
    definition: NetDefinition, phase: str, options: EngineOptions, number: int = 0
) -> Executor:
    """Set up a net and open the data of its layers.

    Args:
        definition: the net, in its state.
        phase: `TRAIN` or `TEST`.
        options: those of the process.
        number: the net's number in the process.

    Raises:
        SqgenError: an invalid net, or unreadable data.
    """
    log_exclusions(definition, phase)
    layers = definition.layers(phase)
    log_net_parameters(definition, layers, phase, of_flags=number == 0)
    loaders: dict[str, Loader] = {}
    logs: dict[str, SourceLog] = {}
    try:
        for index, layer in enumerate(layers):
            if has_countable_records(layer):
                seed = key(options.seed, number, index)
                loaders[layer.name] = _open_loader(definition, layer, phase, options, seed)
                logs[layer.name] = _source_log(layer, loaders[layer.name])
        return Executor(
            definition,
            phase,
            loaders=loaders,
            precision=options.precision,
            device=options.device,
            workers=options.workers,
            seed=options.seed,
            number=number,
            log=True,
            source_logs=logs,
        )
    except BaseException:
        for loader in loaders.values():
            loader.close()
        raise


def _open_loader(
    definition: NetDefinition, layer: LayerParameter, phase: str, options: EngineOptions, seed: int
) -> Loader:
    loader = open_loader(
        layer,
        phase,
        seed=seed,
        where=f"{definition.place(layer)}: layer '{printable(layer.name)}'",
        exact=options.exact,
        on_restart=_log_restart if layer.type == "Data" else None,
        threads=options.workers.threads,
        shards=options.shards,
    )
    for warning in loader.warnings:
        glog.error(warning)
    return loader


def _source_log(layer: LayerParameter, loader: Loader) -> SourceLog:
    """Return what Caffe logs of a data layer that was opened."""
    shape = ",".join(map(str, loader.top_shapes[0]))
    mean_file = layer.transform_param.mean_file
    mean = [(f"Loading mean file from: {mean_file}", "data_transformer.cpp:25")] * bool(mean_file)
    if isinstance(loader, Hdf5Loader):
        source = layer.hdf5_data_param.source
        count = len(loader.files.files)
        lines = [
            (f"Loading list of HDF5 filenames from: {source}", "hdf5_data_layer.cpp:81"),
            (f"Number of HDF5 files: {count}", "hdf5_data_layer.cpp:95"),
        ]
        return SourceLog([], [*lines, *_type_class_lines(loader.files.type_classes)])
    if layer.type == "ImageData":
        param = layer.image_data_param
        shuffling = [("Shuffling data", "image_data_layer.cpp:53")] * param.shuffle
        lines = [
            *mean,
            (f"Opening file {param.source}", "image_data_layer.cpp:38"),
            *shuffling,
            (f"A total of {loader.records} images.", "image_data_layer.cpp:63"),
            (f"output data size: {shape}", "image_data_layer.cpp:90"),
        ]
        return SourceLog([], lines)
    opened = [(f"Opened lmdb {layer.data_param.source}", "db_lmdb.cpp:35")]
    return SourceLog(opened, [*mean, (f"output data size: {shape}", "data_layer.cpp:45")])


_logged_type_classes: set[str] = set()


def _type_class_lines(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return the lines of type classes of datasets: once in a process, as LOG_FIRST_N does."""
    new = [name for name in names if name not in _logged_type_classes]
    _logged_type_classes.update(new)
    places = {"FLOAT": "hdf5.cpp:33"}
    return [(f"Datatype class: H5T_{name}", places.get(name, "hdf5.cpp:36")) for name in new]


def _log_restart() -> None:
    glog.info("Restarting data prefetching from start.", "data_layer.cpp:73")
