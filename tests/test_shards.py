"""Shards: together they read what one process reads, each its part, from any position."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqgen.engine.distributed.shards import Shards
from sqgen.engine.loader import EndOfData
from sqgen.engine.open_loader import open_loader
from sqgen.errors import NetError

from .databases import data_layer, image_file, layer, make_lmdb, raw

COUNT = 7
RANDOM = "crop_size: 4 mirror: true"


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Layers of a batch size yet to be set that read the same seven records."""
    folder = tmp_path_factory.mktemp("shards")
    make_lmdb(folder / "raw", map(raw, range(COUNT)))
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(image_file(number))
    names = "".join(f"{number}.png {number}\n" for number in range(COUNT))
    (folder / "list.txt").write_text(names)
    for name, rows in (("a", range(3)), ("b", range(3, COUNT))):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["data"] = np.array([[row] * 4 for row in rows], np.float32)
            file["label"] = np.array(rows, np.float32)
    (folder / "h5.txt").write_text(f"{folder}/a.h5\n{folder}/b.h5\n")
    images = f'source: "{folder}/list.txt" root_folder: "{folder}/" shuffle: true rand_skip: 4'
    hdf5 = f'source: "{folder}/h5.txt" shuffle: true'
    tops = 'top: "data" top: "label"'
    return {
        "lmdb": data_layer(folder / "raw", 1, RANDOM),
        "images": layer(
            f'type: "ImageData" {tops} transform_param {{ {RANDOM} }}'
            f" image_data_param {{ {images} batch_size: 1 }}"
        ),
        "hdf5": layer(f'type: "HDF5Data" {tops} hdf5_data_param {{ {hdf5} batch_size: 1 }}'),
    }


def read(one: Any, batch: int, batches: int, start: int = 0, **options: Any) -> list[Any]:
    """(data, labels) of batches from a position on."""
    for param in (one.data_param, one.image_data_param, one.hdf5_data_param):
        if param.batch_size:
            param.batch_size = batch
    options.setdefault("phase", "TRAIN")
    with closing(open_loader(one, seed=5, where="net:7", **options)) as loader:
        loader.seek(start)
        found = []
        for _ in range(batches):
            try:
                tops = loader.next()
            except EndOfData:
                break
            found.append((np.array(tops.data), np.array(tops.labels)))
        return found


def equal(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a, b)
        for x, y in zip(one, other, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("kind", ["lmdb", "images", "hdf5"])
@settings(max_examples=12)
@given(
    each=st.integers(1, 3),
    processes=st.integers(1, 3),
    batch=st.integers(1, 4),
    start=st.integers(0, 20),
    threads=st.sampled_from([1, 3]),
)
def test_shards_deal_the_records_of_one_process(
    kind: str,
    each: int,
    processes: int,
    batch: int,
    start: int,
    threads: int,
    layers: dict[str, Any],
) -> None:
    count, windows = each * processes, 3
    whole = read(layers[kind], count * batch, windows, start)
    for rank in range(processes):
        shards = Shards.of_process(count, rank, processes)
        found = read(layers[kind], batch, windows * each, start, shards=shards, threads=threads)
        expected = [
            (data[shard::count], labels[shard::count])
            for data, labels in whole
            for shard in shards.own
        ]
        assert equal(found, expected)


@pytest.mark.parametrize("kind", ["lmdb", "images", "hdf5"])
@pytest.mark.parametrize("exact", [True, False])
def test_shards_by_batch_read_the_batches_of_one_process(
    kind: str, exact: bool, layers: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"phase": "TEST", "exact": exact}
    whole = read(layers[kind], 2, 6, **options)
    assert len(whole) == (4 if exact else 6)
    for rank in range(3):
        shards = Shards.of_process(3, rank, 3, by_batch=True)
        assert equal(read(layers[kind], 2, 2, shards=shards, **options), whole[rank::3])


def test_the_position_is_that_of_all_shards(layers: dict[str, Any]) -> None:
    layers["lmdb"].data_param.batch_size = 2
    shards = Shards.of_process(4, 1, 2)
    options: dict[str, Any] = {"seed": 5, "where": "net:7", "shards": shards}
    with closing(open_loader(layers["lmdb"], "TRAIN", **options)) as loader:
        positions = [(loader.next(), loader.position)[1] for _ in range(4)]
    assert positions == [0, 8, 8, 16]


def test_an_end_of_data_is_reported_once_a_pass(layers: dict[str, Any]) -> None:
    ends: list[None] = []
    shards = Shards.of_process(2, 0, 1)
    read(layers["lmdb"], 7, 20, shards=shards, on_restart=lambda: ends.append(None))
    assert 20 <= len(ends) <= 26  # with what is read ahead


def test_uneven_shards_are_refused() -> None:
    with pytest.raises(NetError, match="4 shards can't be dealt evenly to 3 processes"):
        Shards.of_process(4, 0, 3)
