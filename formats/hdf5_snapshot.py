"""The layout of Caffe's snapshots in HDF5: weights and solver states.

Weights (Net::ToHDF5 and CopyTrainedLayersFromHDF5 in src/caffe/net.cpp): a group `data` with a
group a layer, whose datasets `0`, `1`, ... are its blobs; `diff` likewise, if written. A blob that
layers share is in the group of the first alone. Solver states (src/caffe/solvers/sgd_solver.cpp):
`iter`, `learned_net`, `current_step`, and the group `history` with datasets `0`, `1`, ...
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..text import printable
from .hdf5_file import Hdf5File, add_string, write_hdf5
from .keras_hdf5 import keras_root

_NUMBER = re.compile("0|[1-9][0-9]{0,4}")
SUFFIX = ".h5"  # by which Caffe knows a solver state in HDF5 (Solver::Restore)


class LayerArrays(NamedTuple):
    """The blobs of a layer.

    Attributes:
        name: of the layer.
        blobs: by number; None for one that a layer before has, or that the file lacks.
        diffs: their gradients; None or missing where there are none.
    """

    name: str
    blobs: Sequence[np.ndarray | None]
    diffs: Sequence[np.ndarray | None] = ()


class StateArrays(NamedTuple):
    """The fields of a solver state; `learned_net` may be missing."""

    iteration: int
    learned_net: str | None
    current_step: int
    history: Sequence[np.ndarray]


def unwritable_name(names: Iterable[str]) -> str | None:
    """Return why layers of these names can't be in one HDF5 file; None where they can.

    Caffe fails to make the group of such a layer when it writes the first snapshot.
    """
    seen: set[str] = set()
    for name in names:
        shown = f"name '{printable(name)}'"
        if "/" in name:
            return f"the layer {shown} has a /, which separates groups in HDF5"
        if name in ("", ".") or "\0" in name:
            return f"the layer {shown} can't be that of a group in HDF5"
        if name in seen:
            return f"two layers have the {shown}, and HDF5 has one group of a name"
        seen.add(name)
    return None


def write_weights(layers: Sequence[LayerArrays], shown: str) -> bytes:
    """Return the bytes of a `.caffemodel.h5`; `shown` is its file, for messages.

    Raises:
        FormatError: HDF5 can't have the names of the layers.
    """
    problem = unwritable_name(layer.name for layer in layers)
    if problem:
        raise FormatError(f"{shown}: {problem}; write a .caffemodel, or rename the layer")

    def fill(file: Any) -> None:
        data = file.create_group("data")
        has_diffs = any(array is not None for layer in layers for array in layer.diffs)
        diff = file.create_group("diff") if has_diffs else None
        for layer in layers:
            _fill_group(data.create_group(layer.name), layer.blobs)
            if diff is not None:
                _fill_group(diff.create_group(layer.name), layer.diffs)

    return write_hdf5(fill)


def _fill_group(group: Any, arrays: Iterable[np.ndarray | None]) -> None:
    for index, array in enumerate(arrays):
        if array is not None:
            group.create_dataset(str(index), data=array)


def read_weights(data: bytes, shown: str) -> list[LayerArrays]:
    """Read the bytes of a `.caffemodel.h5`: its layers with their blobs, in the order of names.

    Raises:
        FormatError: it is damaged, or no such file.
    """
    with Hdf5File(data, shown) as file:
        if not file.is_group("data"):
            raise FormatError(f"{shown}: {_describe_other(file)}")
        return [LayerArrays(name, _read_layer(file, name)) for name in file.names("data")]


def _describe_other(file: Hdf5File) -> str:
    if file.is_group("history"):
        return "is a solver state, not weights; give the .caffemodel.h5"
    if keras_root(file) is not None:
        return "is Keras's; sqgen weights convert makes a .caffemodel of it"
    return "has no group 'data' of weights, as Caffe writes it; give a .caffemodel.h5"


def _read_layer(file: Hdf5File, layer: str) -> list[np.ndarray | None]:
    group = f"data/{layer}"
    if not file.is_group(group):
        raise FormatError(f"{file.shown}: {printable(group)} is no group of blobs, as Caffe's are")
    return _read_numbered(file, group)


def _read_numbered(file: Hdf5File, group: str) -> list[np.ndarray | None]:
    """Read the datasets `0`, `1`, ... of a group; None for one that is missing in between."""
    names = file.names(group)
    odd = next((name for name in names if not _NUMBER.fullmatch(name)), None)
    if odd is not None:
        raise FormatError(
            f"{file.shown}: {printable(group)} has '{printable(odd)}', where Caffe has blobs 0, 1,"
            " ...; was it Caffe that wrote the file?"
        )
    arrays: list[np.ndarray | None] = [None] * (max(map(int, names), default=-1) + 1)
    for name in names:
        path = f"{group}/{name}"
        arrays[int(name)] = file.read(
            path, dtype=np.float64 if file.is_double(path) else np.float32
        )
    return arrays


def write_state(state: StateArrays) -> bytes:
    """Return the bytes of a `.solverstate.h5`."""

    def fill(file: Any) -> None:
        file["iter"] = np.array([state.iteration], np.int32)
        if state.learned_net is not None:
            add_string(file, "learned_net", state.learned_net)
        file["current_step"] = np.array([state.current_step], np.int32)
        _fill_group(file.create_group("history"), state.history)

    return write_hdf5(fill)


def read_state(data: bytes, shown: str) -> StateArrays:
    """Read the bytes of a `.solverstate.h5`.

    Raises:
        FormatError: it is damaged, or no such file.
    """
    with Hdf5File(data, shown) as file:
        if not file.is_group("history"):
            is_weights = file.is_group("data")
            what = (
                "is a .caffemodel.h5"
                if is_weights
                else "has no group 'history', as Caffe writes it"
            )
            raise FormatError(f"{shown}: {what}; --snapshot takes the .solverstate.h5")
        history = _read_numbered(file, "history")
        complete = [array for array in history if array is not None]
        if len(complete) < len(history):
            raise FormatError(f"{shown}: lacks part of its history; use an earlier snapshot")
        named = file.is_dataset("learned_net")
        return StateArrays(
            file.read_integer("iter"),
            file.read_string("learned_net") if named else None,
            file.read_integer("current_step"),
            complete,
        )
