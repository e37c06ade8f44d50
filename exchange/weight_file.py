"""Read weights of any format as a caffemodel, and write them: one table of formats.

What a file is, its contents say; a suffix that says otherwise is mentioned.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FormatError
from ..formats.caffemodel import encode_caffemodel, is_caffemodel, parse_caffemodel
from ..formats.files import BINARY_LIMIT, display_name, read_bytes
from ..formats.foreign_weights import NPZ, SAFETENSORS, TORCH, foreign_format
from ..formats.hdf5_file import is_hdf5
from ..formats.schema import NetParameter
from ..text import printable

if TYPE_CHECKING:
    from ..nets.definition import NetDefinition
    from .known_nets import KnownNet

CAFFEMODEL, CAFFE_HDF5, KERAS_HDF5 = "caffemodel", "Caffe's HDF5", "Keras's HDF5"
COMPRESSED = "compressed weights"
SUFFIXES = {
    CAFFEMODEL: (".caffemodel",),
    CAFFE_HDF5: (".h5", ".hdf5"),
    KERAS_HDF5: (".h5", ".hdf5"),
    NPZ: (".npz",),
    SAFETENSORS: (".safetensors",),
    TORCH: (".pth", ".pt", ".bin"),
    COMPRESSED: (".sqz", ".net"),
}
OUTPUTS = {  # the first that fits
    ".keras.h5": KERAS_HDF5,
    ".caffemodel": CAFFEMODEL,
    ".h5": CAFFE_HDF5,
    ".npz": NPZ,
    ".safetensors": SAFETENSORS,
    ".pth": TORCH,
    ".pt": TORCH,
}
_KIND = "a file of weights"


class WeightFile(NamedTuple):
    """Weights that were read.

    Attributes:
        model: their layers with blobs; with definitions where the file has them or `known` is set.
        format: a key of `SUFFIXES`.
        known: the net of another framework that they are of; None for others.
        notes: what a user should know of the file, a line each.
    """

    model: NetParameter
    format: str
    known: KnownNet | None
    notes: list[str]


def output_format(path: str) -> str:
    """Return the format of a file to write, by its suffix.

    Raises:
        FormatError: no format has it.
    """
    for suffix, kind in OUTPUTS.items():
        if path.endswith(suffix):
            return kind
    raise FormatError(f"{printable(path)}: end it in one of {', '.join(OUTPUTS)}")


def read_weights(path: str | os.PathLike[str], net: NetDefinition | None = None) -> WeightFile:
    """Read weights of any format, or those of standard input for `-`.

    Args:
        path: the file.
        net: that of a compressed file, which has no names; without, such files are refused.

    Raises:
        FormatError: it can't be read, is damaged, or would run code.
        NetError: it is of another net.
        MissingExtraError: the package that reads it is not installed.
    """
    data, shown, name = read_bytes(path, BINARY_LIMIT, _KIND), display_name(path), str(path)
    kind = foreign_format(data)
    if kind is None and is_hdf5(data):
        kind = KERAS_HDF5 if _is_keras(data, shown) else CAFFE_HDF5
    if kind is None and net is not None and _is_compressed(data, name):
        from ..compress.encoding import decode

        file = WeightFile(decode(data, net, name), COMPRESSED, None, [])
    elif kind in (None, CAFFE_HDF5):
        file = WeightFile(parse_caffemodel(data, shown, []), kind or CAFFEMODEL, None, [])
    else:
        from .foreign_file import read_keras_file, read_tensors

        is_keras = kind == KERAS_HDF5
        read = read_keras_file(data, shown) if is_keras else read_tensors(data, shown, kind)
        file = WeightFile(read.model, kind, read.known, read.notes)
    claimed = [each for each, suffixes in SUFFIXES.items() if name.endswith(suffixes)]
    if claimed and file.format not in claimed:
        file.notes.append(f"{shown}: its contents are {file.format}, not {claimed[0]}")
    return file


def _is_keras(data: bytes, shown: str) -> bool:
    from ..formats.keras_hdf5 import is_keras

    return is_keras(data, shown)


def _is_compressed(data: bytes, name: str) -> bool:
    from ..compress.sqz_file import is_sqz

    return is_sqz(data) or (name.endswith(SUFFIXES[COMPRESSED]) and not is_caffemodel(data))


def encode_weights(model: NetParameter, path: str) -> bytes:
    """Return the bytes of weights for a file, in the format of its suffix, under Caffe's names.

    Raises:
        FormatError: the format can't have the names, or the suffix says none.
        MissingExtraError: the package that writes it is not installed.
    """
    kind, shown = output_format(path), printable(path)
    if kind in (CAFFEMODEL, CAFFE_HDF5):
        return encode_caffemodel(model, path)
    if kind == KERAS_HDF5:
        from .keras_weights import keras_from_model

        return keras_from_model(model, shown)
    from ..formats.safetensors_file import write_safetensors
    from ..formats.torch_file import write_state_dict
    from .npz_weights import write_npz
    from .tensor_names import tensors_of_model

    tensors = tensors_of_model(model, shown)
    if kind == TORCH:
        return write_state_dict(tensors)
    return {NPZ: write_npz, SAFETENSORS: write_safetensors}[kind](tensors, shown)
