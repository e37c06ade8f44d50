"""Open a net and the data that it reads, logging what `caffe` logs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ..counter_rng import key
from ..nets.data_layers import has_countable_records
from ..nets.definition import NetDefinition
from ..text import printable
from . import glog
from .executor import Executor
from .hdf5_loader import Hdf5Loader
from .loader import Loader
from .open_loader import open_loader
from .setup_log import log_exclusions, log_net_parameters
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
    """

    precision: str
    device: str
    workers: Workers
    seed: int
    exact: bool = False


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
    for warning in definition.warnings:
        glog.warning(warning)
    log_exclusions(definition, phase)
    layers = definition.layers(phase)
    log_net_parameters(definition, layers, phase)
    loaders: dict[str, Loader] = {}
    try:
        for index, layer in enumerate(layers):
            if has_countable_records(layer):
                seed = key(options.seed, number, index)
                loaders[layer.name] = _open_loader(definition, layer, phase, options, seed)
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
        )
    except BaseException:
        for loader in loaders.values():
            loader.close()
        raise


def _open_loader(
    definition: NetDefinition, layer: LayerParameter, phase: str, options: EngineOptions, seed: int
) -> Loader:
    if layer.type == "ImageData":
        glog.info(f"Opening file {layer.image_data_param.source}", "image_data_layer.cpp:38")
    elif layer.type == "HDF5Data":
        source = layer.hdf5_data_param.source
        place = "hdf5_data_layer.cpp:81"
        glog.info(f"Loading list of HDF5 filenames from: {source}", place)
    loader = open_loader(
        layer,
        phase,
        seed=seed,
        where=f"{definition.place(layer)}: layer '{printable(layer.name)}'",
        exact=options.exact,
        on_restart=_log_restart if layer.type == "Data" else None,
        on_damage=glog.warning,
        threads=options.workers.threads,
    )
    for warning in loader.warnings:
        glog.error(warning)
    _log_opened(layer, loader)
    return loader


def _log_opened(layer: LayerParameter, loader: Loader) -> None:
    if isinstance(loader, Hdf5Loader):
        glog.info(f"Number of HDF5 files: {len(loader.files.files)}", "hdf5_data_layer.cpp:95")
        for name in loader.files.type_classes:
            _log_type_class(name)
        return
    if layer.type == "ImageData":
        glog.info(f"A total of {loader.records} images.", "image_data_layer.cpp:63")
    else:
        glog.info(f"Opened lmdb {layer.data_param.source}", "db_lmdb.cpp:35")
    shape = ",".join(map(str, loader.top_shapes[0]))
    place = "image_data_layer.cpp:91" if layer.type == "ImageData" else "data_layer.cpp:45"
    glog.info(f"output data size: {shape}", place)


@cache
def _log_type_class(name: str) -> None:
    """Log the type class of a dataset: once in a process, as LOG_FIRST_N does."""
    glog.info(f"Datatype class: H5T_{name}", "hdf5.cpp:33" if name == "FLOAT" else "hdf5.cpp:36")


def _log_restart() -> None:
    glog.info("Restarting data prefetching from start.", "data_layer.cpp:73")
