"""`sqgen upgrade`."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import FormatError
from ..formats import prototxt
from ..formats.files import STDIN, is_text, read_bytes, write_files
from ..formats.upgrade import upgrade_net
from ..nets.definition import is_solver, parse_net, parse_solver
from ..text import printable
from .terminal import warn, write

BINARY_LIMIT = (1 << 31) - 1  # bytes; protobuf's own limit


@click.command()
@click.argument("path", metavar="FILE")
@click.option("-o", "--out", metavar="OUT", help="file to write, instead of standard output")
@click.option("--force", is_flag=True, help="replace OUT if it exists")
def upgrade(path: str, out: str | None, force: bool) -> None:
    """Write an old net, solver or caffemodel in the current format.

    FILE is a prototxt (V0 and V1 layers, input headers, solver_type) or a binary .caffemodel,
    which needs -o. Fields of known forks of Caffe are dropped if that keeps the meaning; standard
    error lists each.

    \b
    Examples:
      sqgen upgrade old.prototxt > new.prototxt
      sqgen upgrade old.caffemodel -o new.caffemodel
    """
    data = read_bytes(path, BINARY_LIMIT, "a caffemodel")
    if not data.strip():
        raise FormatError(f"{printable(path)}: is empty")
    if is_text(data):
        result, notes = _upgrade_text(data, path)
    elif out is None:
        raise click.UsageError(f"{printable(path)} is binary: say where to write it with -o")
    else:
        result, notes = _upgrade_binary(data, path)
    for note in notes:
        warn(note)
    if out in (None, STDIN):
        write(result)
    else:
        write_files({Path(str(out)): result}, force)


def _upgrade_text(data: bytes, path: str) -> tuple[bytes, list[str]]:
    if len(data) > prototxt.SIZE_LIMIT:
        raise FormatError(f"{printable(path)}: larger than 16 MiB, which a prototxt never is")
    text = prototxt.decode(data, path)
    if is_solver(text):
        notes: list[str] = []
        return prototxt.to_text(parse_solver(text, path, notes)).encode(), notes
    net = parse_net(text, path)
    return prototxt.to_text(net.param).encode(), net.warnings + net.notes


def _upgrade_binary(data: bytes, path: str) -> tuple[bytes, list[str]]:
    from google.protobuf.message import DecodeError

    from ..formats.schema import NetParameter

    net = NetParameter()
    try:
        net.ParseFromString(data)
    except DecodeError:
        raise FormatError(f"{printable(path)}: neither text nor a .caffemodel") from None
    if not (net.layer or net.layers):
        raise FormatError(f"{printable(path)}: binary, but no .caffemodel: it has no layers")
    changes = upgrade_net(net, path)
    return net.SerializeToString(), [f"{printable(path)}: upgraded {what}" for what in changes]
