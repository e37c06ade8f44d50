"""Recognize files of weights that other frameworks write, by their first bytes."""

from __future__ import annotations

NPZ, SAFETENSORS, TORCH = "npz", "safetensors", "PyTorch"
ONNX_SUFFIX = ".onnx"  # these files have no first bytes of their own
IS_ONNX = "is an ONNX model; sqgen import makes a net and weights of it"

_ZIP = b"PK\x03\x04"  # a local file header, whose name begins at byte 30
_EMPTY_ZIP = b"PK\x05\x06"
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))
_TAR = (257, b"ustar")  # PyTorch's files before 2017


def foreign_format(data: bytes) -> str | None:
    """Return `npz`, `safetensors` or `PyTorch` for bytes that begin like one, else None.

    No caffemodel begins so: these bytes as protobuf would be fields that NetParameter lacks, or a
    name with nulls. HDF5, which both Caffe and Keras write, is not told here.
    """
    if data.startswith((_ZIP, _EMPTY_ZIP)):
        name = data[30 : 30 + int.from_bytes(data[26:28], "little")]
        return NPZ if name.endswith(b".npy") else TORCH
    if data.startswith(_PICKLES) or data.startswith(_TAR[1], _TAR[0]):
        return TORCH
    # The length of a header of JSON, below 2^48, in front of it.
    if data[6:9] == b"\0\0{":
        return SAFETENSORS
    return None
