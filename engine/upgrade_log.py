"""What Caffe logs where it upgrades an old file (src/caffe/util/upgrade_proto.cpp)."""

from __future__ import annotations

import os
from collections.abc import Collection

from ..formats.caffemodel import read_caffemodel
from ..formats.schema import NetParameter
from ..formats.upgrade import (
    BATCH_NORM,
    INPUT_HEADER,
    SOLVER_TYPE,
    TRANSFORMS,
    V0_LAYERS,
    V1_LAYERS,
    has_batch_norm_params,
)
from ..nets.definition import NetDefinition, upgrade_line
from . import glog

_FILE = "input file specified using deprecated "
_DONE = "Successfully upgraded file specified using deprecated "
_FUTURE = "Note that future Caffe releases will "
# Upgrade -> line number, text before the file's name; line number, text; and of a warning.
_LINES: dict[str, tuple[tuple[int, str], ...]] = {
    V0_LAYERS: (
        (28, _FILE + "V0LayerParameter"),
        (36, _DONE + "V0LayerParameter"),
        (
            39,
            _FUTURE + "not support V0NetParameter; use ./build/tools/upgrade_net_proto_text for"
            " prototxt and ./build/tools/upgrade_net_proto_binary for model weights upgrade this"
            " and any other net protos to the new format.",
        ),
    ),
    TRANSFORMS: (
        (46, _FILE + "transformation parameters"),
        (49, _DONE + "data transformation parameters."),
        (51, _FUTURE + "only support transform_param messages for transformation fields."),
    ),
    V1_LAYERS: ((55, _FILE + "V1LayerParameter"), (63, _DONE + "V1LayerParameter")),
    INPUT_HEADER: (
        (69, _FILE + "input fields"),
        (72, _DONE + "input fields."),
        (74, _FUTURE + "only support input layers and not input fields."),
    ),
    BATCH_NORM: (
        (79, "batch norm layers using deprecated params"),
        (82, "Successfully upgraded batch norm layers using deprecated params."),
    ),
    SOLVER_TYPE: (
        (1084, _FILE + "'solver_type' field (enum)'"),
        (1091, _DONE + "'solver_type' field (enum) to 'type' field (string)."),
        (1093, _FUTURE + "only support 'type' field (string) for a solver's type."),
    ),
}


def log_reading(definition: NetDefinition, is_file: bool = True) -> None:
    """Log what reading a net upgraded, and our own warnings of it.

    Args:
        definition: the net.
        is_file: whether Caffe reads and upgrades it, too; it does not upgrade a net in a solver.
    """
    lines = [upgrade_line(definition.source, change) for change in definition.upgrades]
    if is_file:
        log_upgrades(definition.upgrades, definition.source, definition.param)
    for warning in definition.warnings:
        if not (is_file and warning in lines):
            glog.warning(warning)


def log_upgrades(changes: Collection[str], file: str, net: NetParameter | None = None) -> None:
    """Log upgrades of a file as Caffe does: of BatchNorm also where nothing changes.

    Args:
        changes: phrases of `upgrade_net` or `upgrade_solver`; others are left out.
        file: the file's name.
        net: what was read, of a net or weights.
    """
    done = {*changes}
    if net is not None and any(map(has_batch_norm_params, net.layer)):
        done.add(BATCH_NORM)
    for change, ((first, what), (second, success), *note) in _LINES.items():
        if change in done:
            glog.info(f"Attempting to upgrade {what}: {file}", f"upgrade_proto.cpp:{first}")
            glog.info(success, f"upgrade_proto.cpp:{second}")
            for number, text in note:
                glog.warning(text, f"upgrade_proto.cpp:{number}")


def read_weights(path: str | os.PathLike[str]) -> NetParameter:
    """Read a caffemodel, logging what is upgraded.

    Raises:
        FormatError: the file can't be read, or is no caffemodel.
    """
    changes: list[str] = []
    model = read_caffemodel(path, changes)
    log_upgrades(changes, os.fspath(path), model)
    return model
