"""`sqgen data`: datasets for Caffe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..formats.files import write_files
from ..report.table import table
from ..text import bytes_text, printable
from .terminal import echo, parse_size, warn

if TYPE_CHECKING:
    from ..datasets.create import CreateResult
    from ..datasets.image_index import ImageIndex

FORMAT = 1
_jobs = click.option(
    "--jobs", type=click.IntRange(1, 1024), metavar="N", help="threads [the cores there are]"
)
_force = click.option("--force", is_flag=True, help="replace what is there")
_json = click.option("--json", "as_json", is_flag=True, help="print JSON (docs/data.md)")


@click.group()
def data() -> None:
    """Make LMDBs of images, average them, look into them.

    \b
    Examples:
      sqgen data create images/ --list train.txt -o train_lmdb --resize 256x256
      sqgen data mean train_lmdb -o mean.binaryproto
      sqgen data info train_lmdb
      sqgen data digits -o digits
    """


@data.command()
@click.argument("images", metavar="IMAGES")
@click.option("--list", "list_file", metavar="FILE", help="a line an image: its name, its label")
@click.option("-o", "--out", required=True, metavar="LMDB", help="the folder to make")
@click.option("--resize", metavar="HxW", help="bring all images to this size, such as 256x256")
@click.option("--encoded", type=click.Choice(["jpg", "png"]), help="keep image files, not pixels")
@click.option("--shuffle", type=int, metavar="SEED", help="an order that the seed gives")
@click.option("--gray", is_flag=True, help="one channel instead of three")
@click.option("--strict", is_flag=True, help="write nothing if an image is bad")
@_jobs
@_force
@_json
def create(
    images: str,
    list_file: str | None,
    out: str,
    resize: str | None,
    encoded: str | None,
    shuffle: int | None,
    gray: bool,
    strict: bool,
    jobs: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make an LMDB of images, equal to convert_imageset's record by record.

    IMAGES is the folder that the names of --list start from, or, without a list, one that has a
    folder a class: labels count the classes' names in order, and LMDB/labels.txt has the names.

    \b
    Examples:
      sqgen data create images/ --list val.txt -o val_lmdb --resize 256x256 --encoded jpg
      sqgen data create ILSVRC2012/train -o train_lmdb --resize 256x256 --shuffle 1
    """
    size = parse_size(resize) if resize is not None else None
    from ..datasets.create import create_lmdb
    from ..datasets.encode_record import RecordEncoder
    from ..datasets.image_index import index_images
    from ..formats.lmdb_writer import LmdbWriter, check_lmdb_target
    from ..host import available_cores
    from .progress_bar import note, progress

    check_lmdb_target(Path(out), force)
    index = index_images(images, list_file)
    for line in index.warnings:
        warn(line)
    if shuffle is not None:
        index = index.shuffled(shuffle)
    with LmdbWriter(out, force) as writer:
        encoder, jobs = RecordEncoder(size, encoded, gray), jobs or available_cores()
        result = create_lmdb(index, encoder, writer, jobs, strict, note, progress)
    if len(result.shapes) > 1:
        warn(
            f"{out}: images of {len(result.shapes)} different sizes; a net that does not crop needs"
            " one: give --resize"
        )
    _report(out, index, result, as_json)


def _report(out: str, index: ImageIndex, result: CreateResult, as_json: bool) -> None:
    skipped = f", {len(result.skipped)} images skipped" if result.skipped else ""
    click.echo(
        f"wrote {printable(out)}: {result.records} records, {bytes_text(result.size)}{skipped}",
        err=True,
    )
    if as_json:
        values = {
            "format": FORMAT,
            "path": out,
            "records": result.records,
            "value_bytes": result.size,
            "left_out": [image._asdict() for image in result.skipped],
            "classes": index.classes,
        }
        echo(json.dumps(values, indent=2))


@data.command()
@click.argument("lmdb", metavar="LMDB")
@click.option("-o", "--out", metavar="FILE", help="the .binaryproto to write, for a mean_file")
@_jobs
@_force
def mean(lmdb: str, out: str | None, jobs: int | None, force: bool) -> None:
    """Average the images of an LMDB, bit for bit as compute_image_mean does.

    Prints the mean of each channel, for mean_value; with -o, writes the mean image too.

    \b
    Example:
      sqgen data mean train_lmdb -o mean.binaryproto
    """
    from ..datasets.mean import compute_mean
    from ..host import available_cores
    from .progress_bar import progress

    found = compute_mean(lmdb, jobs or available_cores(), progress)
    if out is not None:
        write_files({Path(out): found.blob()}, force)
        click.echo(f"wrote {printable(out)}: the mean of {found.images} images", err=True)
    for number, value in enumerate(found.channels()):
        echo(f"channel {number}: {value:.6g}")


@data.command()
@click.argument("lmdb", metavar="LMDB")
@_jobs
@_json
def info(lmdb: str, jobs: int | None, as_json: bool) -> int:
    """Look at all records of an LMDB: sizes, labels, and the first that is bad.

    Exit code 1 says that one is.

    \b
    Example:
      sqgen data info train_lmdb
    """
    from ..datasets.inspect import as_json as plain
    from ..datasets.inspect import info_rows, inspect_lmdb
    from ..host import available_cores
    from .progress_bar import progress

    found = inspect_lmdb(lmdb, jobs or available_cores(), progress)
    if as_json:
        echo(json.dumps(plain(found), indent=2))
    else:
        for line in table(["", ""], info_rows(found))[1:]:
            echo(line)
    return 1 if found.first_bad else 0


@data.command()
@click.option("-o", "--out", required=True, metavar="DIR", help="the folder to make them in")
@_force
def digits(out: str, force: bool) -> None:
    """Make LMDBs of the UCI digits: DIR/train_lmdb (1,500) and DIR/test_lmdb (297).

    A small real dataset that needs no download: ten classes, 32x32, three equal channels.

    \b
    Example:
      sqgen data digits -o digits
    """
    from ..datasets.digits import write

    for name, records in write(Path(out), force).items():
        click.echo(f"wrote {printable(str(Path(out) / name))}: {records} records", err=True)
