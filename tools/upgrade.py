"""`sqgen upgrade`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import FormatError
from ..formats import prototxt
from ..formats.files import BINARY_LIMIT, STDIN, display_name, is_text, read_bytes, write_files
from ..formats.fork_fields import COMPUTED
from ..nets.definition import is_solver, parse_net, parse_solver
from ..text import printable
from .terminal import warn, write

TEXT_SUFFIXES = (".prototxt", ".pt", ".txt")


@click.command()
@click.argument("path", metavar="FILE")
@click.option("-o", "--out", metavar="OUT", help="file to write, instead of standard output")
@click.option("--text", "as_text", is_flag=True, help="write the net of a caffemodel, as text")
@click.option("--force", is_flag=True, help="replace OUT if it exists")
def upgrade(path: str, out: str | None, as_text: bool, force: bool) -> None:
    """Write an old net, solver or caffemodel in the current format.

    FILE is a prototxt (V0 and V1 layers, input headers, solver_type), or a caffemodel, which needs
    -o: binary or HDF5, and written as HDF5 if OUT ends in .h5. Fields of known forks of Caffe are
    dropped if that keeps the meaning; standard error lists each.

    \b
    Examples:
      sqgen upgrade old.prototxt > new.prototxt
      sqgen upgrade old.caffemodel -o new.caffemodel
      sqgen upgrade net.caffemodel -o net.caffemodel.h5
      sqgen upgrade --text net.caffemodel > net.prototxt
    """
    data = read_bytes(path, BINARY_LIMIT, "a caffemodel")
    source = display_name(path)
    if not data.strip():
        raise FormatError(f"{source}: is empty")
    if as_text:
        result, notes = _stored_net(data, source)
    elif is_text(data) or prototxt.utf_16_name(data):
        result, notes = _upgrade_text(data, source)
    elif out is None:
        raise click.UsageError(
            f"{source} is binary: say where to write it with -o; --text writes its net"
        )
    else:
        result, notes = _upgrade_binary(data, source, out)
        if out.endswith(TEXT_SUFFIXES):
            notes.append(f"{printable(out)}: holds weights, in binary; --text writes the net alone")
    warn(*notes)
    if out in (None, STDIN):
        write(result)
    else:
        write_files({Path(str(out)): result}, force)


def _stored_net(data: bytes, source: str) -> tuple[bytes, list[str]]:
    if is_text(data):
        raise click.UsageError(f"{source}: is text already; --text is for a caffemodel")
    from ..formats.caffemodel import parse_caffemodel
    from ..nets.stored_net import stored_net

    changes: list[str] = []
    net = stored_net(parse_caffemodel(data, source, changes), source)
    return prototxt.to_text(net).encode(), [f"{source}: upgraded {what}" for what in changes]


def _upgrade_text(data: bytes, source: str) -> tuple[bytes, list[str]]:
    if len(data) > prototxt.SIZE_LIMIT:
        raise FormatError(f"{source}: larger than 16 MiB, which a prototxt never is")
    text = prototxt.decode(data, source)
    if is_solver(text):
        notes: list[str] = []
        return prototxt.to_text(parse_solver(text, source, notes, allow_forks=True)).encode(), notes
    net = parse_net(text, source)
    net.require_caffe(None, COMPUTED)
    return prototxt.to_text(net.param).encode(), net.warnings + net.notes


def _upgrade_binary(data: bytes, source: str, out: str) -> tuple[bytes, list[str]]:
    from ..formats.caffemodel import encode_caffemodel, parse_caffemodel

    changes: list[str] = []
    net = parse_caffemodel(data, source, changes)
    return encode_caffemodel(net, out), [f"{source}: upgraded {what}" for what in changes]
