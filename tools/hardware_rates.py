"""`sqgen time --hardware`: measure this machine as hardware of `sqgen quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import NetError, OutputError
from ..extras import required
from ..formats.files import check_file_target, write_files
from ..host import available_cores, describe_machine
from ..runner.engines import CAFFE
from ..text import printable
from ..version import __version__
from .input_files import read_net
from .run_options import embedded_flags
from .terminal import echo, print_json

if TYPE_CHECKING:
    from ..nets.layer_types import Shape
    from ..quantization.hardware_file import Hardware
    from ..runner.options import RunOptions

ITERATIONS = 30
FORMAT = 1
_INTEGERS, _FLOATS = 8, 32  # bits


def measure_hardware(
    path: str,
    space: str,
    image: Shape | None,
    batch: int,
    iterations: int | None,
    options: RunOptions,
    as_json: bool,
) -> None:
    """Measure this machine on a net, and write the file.

    Raises:
        SqgenError: the net has no deploy net or no MACs, or the file is there already.
        click.UsageError: options are given that the file has no place for.
    """
    from ..nets.deploy import deploy_net
    from ..nets.shapes import require_shapes

    threads = _threads(options)
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{printable(path)}: exists already; give --hardware another file")
    check_file_target(target, force=True)
    net = deploy_net(read_net(space), batch, image).definition
    if not any(item.macs for item in require_shapes(net, "TEST").layers):
        raise NetError(f"{printable(space)}: has no MACs to measure; give a net with convolutions")
    with required("torch", "sqgen time --hardware"):
        from ..engine.machine_rates import copy_rate, mac_rate
    from ..quantization.hardware_file import Hardware, format_hardware

    count = iterations or ITERATIONS
    floats = mac_rate(net, "fp32", threads, count)
    integers = mac_rate(net, "int8", threads, count)
    assert floats is not None
    processor = describe_machine()["processor"]
    rates = {_FLOATS: floats} if integers is None else {_INTEGERS: integers, _FLOATS: floats}
    hardware = Hardware(
        name=f"{processor}, {threads} threads",
        batch=batch,
        bits=tuple(rates),
        # Numbers of different bits are computed as the larger ones are.
        macs_per_second=tuple(
            tuple(_rounded(rates[max(row, column)]) for column in rates) for row in rates
        ),
        bytes_per_second=_rounded(copy_rate(threads, count)),
        packed=False,
    )
    header = (
        f"# Measured by sqgen {__version__}: the median of {count} passes of {printable(space)},\n"
        "# and of copies of 256 MiB.\n"
    )
    write_files({target: format_hardware(hardware, header).encode()}, force=False)
    _report(hardware, path, as_json)


def _rounded(rate: float) -> float:
    """Return a rate with the digits that a measurement has."""
    return float(f"{rate:.4g}")


def _threads(options: RunOptions) -> int:
    """Return the threads that compute; refuse all that the file has no place for.

    Raises:
        click.UsageError: other options are given.
    """
    others = {"engine": options.engine == CAFFE, "caffe": options.caffe, "gpu": options.gpu}
    for name, given in others.items():
        if given:
            raise click.UsageError(
                f"--hardware measures the embedded engine on the CPU: leave out --{name}"
            )
    line = embedded_flags(options, ("threads",), "--hardware")
    return line.integer("threads") or available_cores()


def _report(hardware: Hardware, path: str, as_json: bool) -> None:
    if as_json:
        print_json({"format": FORMAT, "hardware": path, **vars(hardware)})
        return
    for bits in hardware.bits:
        rate = hardware.mac_rate(bits, bits)
        echo(f"{bits} bits: {rate / 1e6:,.0f} million MACs a second")
    echo(f"memory: {hardware.bytes_per_second / 1e6:,.0f} MB a second")
    if _INTEGERS not in hardware.bits:
        echo("integers of 8 bits don't run faster here: they count as float")
