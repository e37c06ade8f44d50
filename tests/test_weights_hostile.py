"""Damaged and hostile files of weights: one line, bounded memory, and no code of theirs runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen import SqgenError
from sqgen.exchange.npz_weights import write_npz
from sqgen.exchange.weight_file import read_weights
from sqgen.formats.safetensors_file import write_safetensors

from .conftest import Run, run_alone

MARK = "executed"  # the file that code in a pickle would make
STATE = {"conv1.weight": np.ones((2, 3, 1, 1), np.float32), "conv1.bias": np.ones(2, np.float32)}


ONES = torch.ones(1_000_000)


class Command:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch {MARK}",)


class Bytes:
    """A pickle of it takes 100 GB when it is loaded, with a function that PyTorch allows."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return bytearray, (10**11,)


def saved(value: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def state() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in STATE.items()}


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return buffer.getvalue()


def repacked(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        members = {name: made.read(name) for name in made.namelist()}
    return archive(members, zipfile.ZIP_DEFLATED)


def npz(header: str, body: bytes = bytes(16), compression: int = zipfile.ZIP_STORED) -> bytes:
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    return archive({"a.weight.npy": start + header.encode() + body}, compression)


def two_members(data: bytes) -> bytes:
    """An npz with a member that is no array."""
    with zipfile.ZipFile(io.BytesIO(data)) as made:
        return archive({"a.weight.npy": made.read("a.weight.npy"), "b": b""})


def described(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr':{descr},'fortran_order':False,'shape':{shape}}}\n"


def savez(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"a.weight": array})
    return buffer.getvalue()


def safetensors(header: bytes | dict[str, Any], length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(16)


def tensor(shape: list[int], kind: str = "F32", end: int = 16) -> dict[str, Any]:
    return {"a.weight": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


def hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


def keras(fill: Callable[[h5py.File], None]) -> bytes:
    """A file of Keras with one layer `c`, whose kernel `fill` makes."""

    def fill_all(file: h5py.File) -> None:
        file.attrs["layer_names"] = [b"c"]
        file.create_group("c").attrs["weight_names"] = [b"c/kernel:0"]
        fill(file)

    return hdf5(fill_all)


def unwritten(file: h5py.File) -> None:
    shape, chunks = (100_000, 1_000, 10, 100), (1, 1, 1, 100)
    file.create_dataset("c/c/kernel:0", shape=shape, chunks=chunks, dtype="f4")


def zeros(file: h5py.File) -> None:
    data = np.zeros((1, 1, 1, 20_000_000), np.float32)
    file.create_dataset("c/c/kernel:0", data=data, compression="gzip")


def hard_links(file: h5py.File) -> None:
    """One dataset as the blobs of 200 layers."""
    first = file.create_dataset("data/0/0", data=np.ones(100_000, np.float32))
    for number in range(1, 200):
        file[f"data/{number}/0"] = first


def linked(path: str, link: Any) -> Callable[[h5py.File], None]:
    def fill(file: h5py.File) -> None:
        file[path] = link

    return fill


def external(file: h5py.File) -> None:
    group = file.create_group("data/conv1")
    group.create_dataset("0", shape=(4,), dtype="f4", external=[("/etc/passwd", 0, 16)])


def batch_norm(file: h5py.File) -> None:
    file["c"].attrs["weight_names"] = [b"c/gamma:0"]
    file["c/c/gamma:0"] = np.ones(3, np.float32)


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            made.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def torch_script() -> bytes:
    return archive({"net/data.pkl": b"\x80\x02}.", "net/constants.pkl": b"\x80\x02)."})


def old_with_size(elements: int) -> bytes:
    """The form before PyTorch 1.6, of a tensor whose storage claims a size."""
    data = saved({"a.weight": torch.ones(6)}, zipped=False)
    assert data.count(b"K\x06N") == 1
    return data.replace(b"K\x06N", b"\x8a\x05" + elements.to_bytes(5, "little") + b"N")


@cache
def hostile_files() -> dict[str, tuple[Callable[[], bytes], str]]:
    """Name of a file -> what makes its bytes, and what the error says."""
    npy = npz(described("(4,)"))
    outside = h5py.ExternalLink("/etc/passwd", "/x")
    return {
        # PyTorch
        "evil.pth": (lambda: saved({"a.weight": Command()}), r"may call \w+.system: refused"),
        "old.pth": (
            lambda: saved({"a.weight": Command()}, zipped=False),
            r"may call \w+.system: refused",
        ),
        "evil.pkl": (lambda: pickle.dumps(Command(), 2), r"may call \w+.system: refused"),
        "evil4.pkl": (lambda: pickle.dumps(Command(), 4), r"may call \w+.system: refused"),
        "bytes.pth": (
            lambda: saved({"a.weight": Bytes()}),
            "may call __builtin__.bytearray: refused",
        ),
        "net.pth": (
            lambda: saved(torch.nn.Conv2d(1, 1, 1)),
            "may call torch.nn.*Conv2d: .*state_dict()",
        ),
        "plain.pkl": (lambda: pickle.dumps({"a.weight": 3}), "is a pickle, but none of PyTorch"),
        "tensor.pth": (lambda: saved(torch.ones(3)), "holds no state dict"),
        "empty.pth": (lambda: saved({}), "holds no state dict"),
        "number.pth": (lambda: saved({"a.weight": 3}), "is no tensor but a int"),
        "int8.pth": (lambda: saved({"a.weight": torch.ones(3, dtype=torch.int8)}), "is of int8"),
        "norm.pth": (
            lambda: saved({"a.running_mean": torch.ones(3)}),
            "'a.running_mean' .* not known",
        ),
        "expanded.pth": (
            lambda: saved({"a.weight": torch.zeros(1).expand(10**6, 10**6)}),
            "unpack to far more than weights do",
        ),
        "shared.pth": (
            lambda: saved(dict.fromkeys(map("{}.weight".format, range(999)), ONES)),
            "far more than",
        ),
        "packed.pth": (
            lambda: repacked(saved(state())),
            "is packed, which PyTorch's files never are",
        ),
        "huge.pth": (lambda: old_with_size(10**11), "do not fit into memory|damaged"),
        "tar.pth": (lambda: tar(), "PyTorch's tar of before 2017"),
        "script.pth": (lambda: torch_script(), "is a program of TorchScript"),
        "text.pth": (lambda: archive({"a.txt": b"x"}), "neither an npz nor PyTorch's"),
        "cut.pth": (lambda: saved(state())[:-9], "damaged"),
        "cut2.pth": (lambda: saved(state(), zipped=False)[:-9], "damaged"),
        # npz
        "bomb.npz": (
            lambda: npz(described("(50000000,)"), bytes(200_000_000), zipfile.ZIP_DEFLATED),
            "its arrays have more than 64 MiB",
        ),
        "object.npz": (
            lambda: savez(np.array([Command()], object)),
            "holds Python objects, which could run code",
        ),
        "int.npz": (lambda: savez(np.arange(4)), "is of int64; weights are floats"),
        "fields.npz": (lambda: savez(np.zeros(4, "f8,f4")), "weights are floats"),
        "wide.npz": (lambda: savez(np.zeros(4, np.longdouble)), "float128|no .npy|float64"),
        "size.npz": (
            lambda: npz(described("(100000000000,)")),
            r"16 bytes for shape \(100000000000,\)",
        ),
        "negative.npz": (lambda: npz(described("(-4,-1)")), r"16 bytes for shape \(-4, -1\)"),
        "code.npz": (
            lambda: npz(described("(4,)", f"__import__('os').mkdir('{MARK}')")),
            "no .npy",
        ),
        "nested.npz": (lambda: npz("[" * 9000), "no .npy"),
        "long.npz": (lambda: npz("{" + " " * 20_000 + "}"), "no .npy"),
        "sum.npz": (lambda: npy.replace(bytes(16), bytes(15) + b"\1"), "damaged"),
        "cut.npz": (lambda: npy[:-9], "a damaged zip"),
        "name.npz": (lambda: archive({"x.npy": npy}), "no .npy"),
        "mixed.npz": (lambda: two_members(npy), "array b: no .npy"),
        # safetensors
        "head.safetensors": (
            lambda: safetensors(b"{", 10**11),
            "damaged safetensors: .*header too large",
        ),
        "offset.safetensors": (
            lambda: safetensors(tensor([10**9], end=4 * 10**9)),
            "damaged safetensors",
        ),
        "wide.safetensors": (lambda: safetensors(tensor([1 << 62, 4])), "damaged safetensors"),
        "nested.safetensors": (
            lambda: safetensors(b'{"a":' + b"[" * 100_000),
            "damaged safetensors",
        ),
        "int.safetensors": (
            lambda: safetensors(tensor([16], "I8")),
            "is of I8; weights are floats",
        ),
        "cut.safetensors": (lambda: safetensors(tensor([4]))[:-1], "damaged safetensors"),
        # HDF5
        "shape.h5": (lambda: keras(unwritten), "not wholly in the file"),
        "zeros.h5": (lambda: keras(zeros), "unpacks to far more than weights do"),
        "hard.h5": (lambda: hdf5(hard_links), "unpacks to far more than weights do"),
        "link.h5": (
            lambda: keras(linked("c/c/kernel:0", outside)),
            "is a link, which is not followed",
        ),
        "soft.h5": (
            lambda: keras(linked("c/c", h5py.SoftLink("/c"))),
            "is a link, which is not followed",
        ),
        "caffe.h5": (
            lambda: hdf5(linked("data/conv1/0", outside)),
            "is a link, which is not followed",
        ),
        "file.h5": (lambda: hdf5(external), "not wholly in the file"),
        "missing.h5": (lambda: keras(lambda file: None), "Failed to find HDF5 dataset"),
        "norm.h5": (lambda: keras(batch_norm), "gamma of layer 'c' is of no convolution"),
        "other.h5": (lambda: hdf5(lambda file: None), "has no group 'data' of weights"),
    }


@pytest.mark.parametrize("name", hostile_files())
def test_one_line_and_nothing_run(name: str, sqgen: Run, tmp_path: Path) -> None:
    make, message = hostile_files()[name]
    (tmp_path / name).write_bytes(make())
    done = sqgen("weights", "convert", name, "o.caffemodel")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"sqgen: {name}: ")
    assert re.search(message, done.stderr), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Some of the files ask for up to 4 TB; 64 MiB may be unpacked, whatever the file's size."""
    for name, (make, _) in hostile_files().items():
        (tmp_path / name).write_bytes(make())
    code = """
import os, resource, torch, h5py, safetensors.numpy
from sqgen import SqgenError
from sqgen.exchange.weight_file import read_weights
for name in sorted(os.listdir()):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        read_weights(name)
    except SqgenError:
        pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown > 80 << 10:
        print(name, grown)
"""
    assert run_alone(code, tmp_path) == ""


VALID = {
    "w.npz": write_npz(STATE, "w"),
    "w.safetensors": write_safetensors(STATE, "w"),
    "w.pth": saved(state()),
    "old.pth": saved(state(), zipped=False),
    "w.h5": keras(linked("c/c/kernel:0", np.ones((1, 1, 3, 2), np.float32))),
}


@pytest.mark.parametrize("name", VALID)
def test_the_valid_ones_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(VALID[name])
    (layer,) = read_weights(tmp_path / name).model.layer
    assert list(layer.blobs[0].shape.dim) == [2, 3, 1, 1]


@pytest.mark.parametrize("name", VALID)
def test_damage_never_raises_anything_else(name: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("damaged") / name
    valid = VALID[name]

    @settings(max_examples=60)
    @given(st.integers(0, len(valid)), st.binary(min_size=1, max_size=9), st.booleans())
    def damaged(start: int, piece: bytes, cut: bool) -> None:
        rest = b"" if cut else valid[start + len(piece) :]
        path.write_bytes(valid[:start] + piece + rest)
        try:
            read_weights(path)
        except SqgenError as error:
            assert str(error).isprintable()

    damaged()
