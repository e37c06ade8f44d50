"""A net with the data it reads, opened as `caffe` opens it, with the same lines in the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..counter_rng import key
from ..nets.data_layers import has_countable_records
from ..nets.definition import NetDefinition
from ..text import printable
from . import glog
from .executor import Net
from .loader import Loader, open_loader
from .wiring import filtered, log_parameters
from .workers import Workers


@dataclass
class Options:
    """How nets of a process run.

    Attributes:
        precision: fp32, bf16 or fp64.
        device: PyTorch's name of it.
        workers: the threads.
        seed: of all that is random.
        exact: each record once (`test` alone).
    """

    precision: str
    device: str
    workers: Workers
    seed: int
    exact: bool = False


def open_net(definition: NetDefinition, phase: str, options: Options, number: int = 0) -> Net:
    """Set up a net of `phase` and open the data of its layers.

    Args:
        definition: the net, in its state.
        phase: `TRAIN` or `TEST`.
        options: of the process.
        number: of the net among the process's.

    Raises:
        SqgenError: the net or its data is not what it should be.
    """
    for warning in definition.warnings:
        glog.warning(warning)
    layers = filtered(definition, phase)
    log_parameters(definition, layers, phase)
    sources: dict[str, Loader] = {}
    try:
        for index, layer in enumerate(layers):
            if has_countable_records(layer):
                sources[layer.name] = _open(definition, layer, phase, options, (number, index))
        return Net(
            definition,
            phase,
            sources=sources,
            precision=options.precision,
            device=options.device,
            workers=options.workers,
            seed=options.seed,
            number=number,
            log=True,
        )
    except BaseException:
        for source in sources.values():
            source.close()
        raise


def _open(
    definition: NetDefinition, layer: Any, phase: str, options: Options, number: tuple[int, int]
) -> Loader:
    where = f"{definition.place(layer)}: layer '{printable(layer.name)}'"
    image_list = layer.type == "ImageData"
    if image_list:
        glog.info(f"Opening file {layer.image_data_param.source}", "image_data_layer.cpp:38")
    source = open_loader(
        layer,
        phase,
        seed=key(options.seed, *number),
        where=where,
        exact=options.exact,
        on_restart=None if image_list else _restarting,
        threads=options.workers.threads,
    )
    for warning in source.warnings:
        glog.error(warning)
    if image_list:
        glog.info(f"A total of {source.records} images.", "image_data_layer.cpp:63")
    else:
        glog.info(f"Opened lmdb {layer.data_param.source}", "db_lmdb.cpp:35")
    shape = ",".join(map(str, (source.batch_size, *source.shape)))
    place = "image_data_layer.cpp:91" if image_list else "data_layer.cpp:45"
    glog.info(f"output data size: {shape}", place)
    return source


def _restarting() -> None:
    glog.info("Restarting data prefetching from start.", "data_layer.cpp:73")
