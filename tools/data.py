"""`sqgen data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SqgenError
from ..formats.files import write_files
from ..report.table import table
from ..text import bytes_text, printable
from .group import Group
from .terminal import (
    echo,
    parse_size,
    print_json,
    print_lines,
    print_table,
    terminal_width,
    warn,
)

if TYPE_CHECKING:
    from ..datasets.create import CreateResult

FORMAT = 1
_jobs = click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="threads [one per core]"
)
_force = click.option("--force", is_flag=True, help="replace existing files")
_json = click.option("--json", "as_json", is_flag=True, help="print JSON (docs/data.md)")


@click.group(cls=Group)
def data() -> None:
    """Create LMDBs of images, average and inspect them; inspect HDF5 files.

    \b
    Examples:
      sqgen data create images/ --list train.txt -o train_lmdb --resize 256x256
      sqgen data create pictures/ -o sets --split 0.2 --resize 256x256
      sqgen data mean train_lmdb -o mean.binaryproto
      sqgen data info train_lmdb
      sqgen data digits -o digits
    """


@data.command()
@click.argument("images", metavar="IMAGES")
@click.option("--list", "list_file", metavar="FILE", help="a line per image: its name and label")
@click.option("-o", "--out", required=True, metavar="LMDB", help="folder to make")
@click.option(
    "--split", type=float, metavar="SHARE", help="make train_lmdb and val_lmdb in it: 0.2"
)
@click.option("--seed", type=int, metavar="N", help="of the split and its order [0]")
@click.option("--resize", metavar="HxW", help="resize all images, such as to 256x256")
@click.option("--encoded", type=click.Choice(["jpg", "png"]), help="store files, not pixels")
@click.option("--shuffle", type=int, metavar="SEED", help="shuffle with this seed")
@click.option("--gray", is_flag=True, help="store one channel instead of three")
@click.option("--strict", is_flag=True, help="write nothing if an image is damaged")
@_jobs
@_force
@_json
def create(
    images: str,
    list_file: str | None,
    out: str,
    split: float | None,
    seed: int | None,
    resize: str | None,
    encoded: str | None,
    shuffle: int | None,
    gray: bool,
    strict: bool,
    jobs: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Create an LMDB of images, with the same records as convert_imageset.

    IMAGES is the root folder of the names in --list. Without a list, it holds a folder per class;
    labels number the classes in alphabetical order, and LMDB/labels.txt lists their names.

    --split makes two: a share of each class goes to LMDB/val_lmdb, the others, shuffled, to
    LMDB/train_lmdb. Copies of a file are all in one of them.

    \b
    Examples:
      sqgen data create images/ --list val.txt -o val_lmdb --resize 256x256
      sqgen data create train/ -o train_lmdb --resize 256x256 --shuffle 1
      sqgen data create pictures/ -o sets --split 0.2 --resize 256x256
    """
    if split is None and seed is not None:
        raise SqgenError("--seed is for --split; --shuffle SEED shuffles one LMDB")
    if split is not None and shuffle is not None:
        raise SqgenError("--shuffle and --split: the training set is shuffled with --seed")
    size = parse_size(resize) if resize is not None else None
    from ..datasets.create import create_lmdb
    from ..datasets.encode_record import RecordEncoder
    from ..datasets.image_index import index_images
    from ..datasets.split import TRAIN, VAL, create_split, split_images
    from ..formats.lmdb_writer import LmdbWriter, check_lmdb_target
    from ..host import available_cores
    from .progress_bar import item_progress, print_note

    for target in (out,) if split is None else (f"{out}/{TRAIN}", f"{out}/{VAL}"):
        check_lmdb_target(Path(target), force)
    index = index_images(images, list_file)
    warn(*index.warnings)
    encoder, jobs = RecordEncoder(size, encoded, gray), jobs or available_cores()
    options: dict[str, Any] = {"strict": strict, "report": print_note, "progress": item_progress}
    if split is None:
        index = index if shuffle is None else index.shuffled(shuffle)
        with LmdbWriter(out, force) as writer:
            created = create_lmdb(index, encoder, writer, jobs, **options)
        result: dict[str, Any] = {"path": out, **_report(out, created)}
    else:
        parts = split_images(index, split, seed or 0, jobs, item_progress)
        warn(*parts.remarks)
        sets = create_split(parts, out, encoder, jobs, force=force, **options)
        reports = {name: _report(f"{out}/{name}", part) for name, part in sets.items()}
        result = {"path": out, "split": split, "seed": seed or 0, **reports}
    if as_json:
        print_json({"format": FORMAT, **result, "classes": index.classes})


def _report(out: str, created: CreateResult) -> dict[str, Any]:
    """Print what was written; return it for `--json`."""
    if len(created.shapes) > 1:
        warn(
            f"{out}: images of {len(created.shapes)} different sizes; a net that does not crop"
            " needs one size: give --resize"
        )
    skipped = f", {len(created.skipped)} images skipped" if created.skipped else ""
    click.echo(
        f"wrote {printable(out)}: {created.records} records, {bytes_text(created.size)}{skipped}",
        err=True,
    )
    return {
        "records": created.records,
        "value_bytes": created.size,
        "left_out": [image._asdict() for image in created.skipped],
    }


@data.command()
@click.argument("lmdb", metavar="LMDB")
@click.option("-o", "--out", metavar="FILE", help="write the mean image, a .binaryproto")
@_jobs
@_force
def mean(lmdb: str, out: str | None, jobs: int | None, force: bool) -> None:
    """Average the images of an LMDB, bit for bit as compute_image_mean does.

    Prints the mean of each channel, for mean_value. With -o, also writes the mean image, for
    mean_file.

    \b
    Example:
      sqgen data mean train_lmdb -o mean.binaryproto
    """
    from ..datasets.mean import compute_mean
    from ..host import available_cores
    from .progress_bar import item_progress

    image_mean = compute_mean(lmdb, jobs or available_cores(), item_progress)
    if out is not None:
        write_files({Path(out): image_mean.blob()}, force)
        click.echo(f"wrote {printable(out)}: the mean of {image_mean.images} images", err=True)
    for channel, value in enumerate(image_mean.channels()):
        echo(f"channel {channel}: {value:.6g}")


@data.command()
@click.argument("path", metavar="LMDB|HDF5")
@_jobs
@_json
def info(path: str, jobs: int | None, as_json: bool) -> int:
    """Inspect all records of an LMDB or HDF5 file.

    Prints sizes, the images of each class, what always answering the largest scores, and the first
    damaged record of an LMDB; exit code 1 if there is one. Prints the shape and range of each
    dataset of an HDF5 file, and the records of each class of one whose name begins with label.

    \b
    Examples:
      sqgen data info train_lmdb
      sqgen data info train_lmdb --json
    """
    from ..formats.hdf5_file import is_hdf5_file

    if is_hdf5_file(path):
        _print_hdf5(path, as_json)
        return 0
    from ..datasets.inspect import as_json as info_as_dict
    from ..datasets.inspect import info_rows, inspect_lmdb
    from ..host import available_cores
    from .progress_bar import item_progress

    lmdb_info = inspect_lmdb(path, jobs or available_cores(), item_progress)
    if as_json:
        print_json(info_as_dict(lmdb_info))
    else:
        print_lines(table(["", ""], info_rows(lmdb_info), width=terminal_width())[1:])
    return 1 if lmdb_info.first_bad else 0


def _print_hdf5(path: str, as_json: bool) -> None:
    from ..datasets import inspect_hdf5
    from ..datasets.balance import balance_rows
    from .progress_bar import item_progress

    datasets = inspect_hdf5.inspect_hdf5(path, item_progress)
    if as_json:
        print_json(inspect_hdf5.as_json(path, datasets))
    else:
        rows = inspect_hdf5.info_rows(datasets)
        print_table(table(inspect_hdf5.HEADS, rows, right=[2, 4, 5, 6]))
        for each in datasets:
            if each.classes:
                balance = table(["", ""], balance_rows(each.classes), width=terminal_width())
                print_lines(["", printable(each.name), *balance[1:]])


@data.command("weights")
@click.argument("lmdb", metavar="LMDB")
@click.option("-o", "--out", required=True, metavar="FILE", help="a .binaryproto to write")
@_force
def class_weights(lmdb: str, out: str, force: bool) -> None:
    """Weigh the classes of an LMDB, so that rare ones count as much as frequent ones.

    Writes the matrix that sqgen build --infogain takes, and prints the weight of each
    class: N / (C n) for n of N images, of C classes.

    \b
    Example:
      sqgen data weights train_lmdb -o class_weights.binaryproto
    """
    from ..datasets.class_weights import balanced_weights, count_labels, infogain_matrix

    counts = count_labels(lmdb)
    weights = balanced_weights(counts, 1 + max(counts))
    write_files({Path(out): infogain_matrix(weights)}, force)
    for label, weight in enumerate(weights):
        echo(f"class {label}: {weight:.6g}")


@data.command()
@click.option("-o", "--out", required=True, metavar="DIR", help="folder to write them into")
@click.option(
    "--train", type=int, default=1500, metavar="N", help="digits for training [1500]; others test"
)
@click.option(
    "--noisy-labels", type=float, default=0.0, metavar="SHARE", help="of training with wrong labels"
)
@click.option("--seed", type=int, default=0, metavar="N", help="of the order and wrong labels [0]")
@_force
def digits(out: str, train: int, noisy_labels: float, seed: int, force: bool) -> None:
    """Create LMDBs of the UCI digits: DIR/train_lmdb (1,500) and DIR/test_lmdb (297).

    A small real dataset that needs no download: ten classes, 32x32, three equal channels. With
    few of them to train on, or with wrong labels, it is a hard one. Labels of DIR/test_lmdb are
    right.

    \b
    Examples:
      sqgen data digits -o digits
      sqgen data digits --train 300 --noisy-labels 0.2 --seed 1 -o hard
    """
    from ..datasets.digits import DigitsSplit, write

    split = DigitsSplit(train, noisy_labels, seed)
    for name, records in write(Path(out), force, split).items():
        click.echo(f"wrote {printable(str(Path(out) / name))}: {records} records", err=True)
