"""Quantization by several processes: all have the ranges and shared values that rank 0 finds."""

from __future__ import annotations

from ...compress.bits_file import BitsFile, format_bits_file, parse_bits_file
from ..executor import Executor
from ..quantization import Quantization
from .world import World


def start_quantization(
    bits: BitsFile | None, net: Executor, world: World, trains: bool = False
) -> Quantization | None:
    """Fit the quantizers of a net, whose weights are the same on all ranks; None of a float net.

    Rank 0 finds the ranges of activations on the images that a single process would read, so that
    they don't depend on how many processes there are.

    Args:
        bits: rank 0's; those of others don't count.
        net: of this process.
        world: the processes.
        trains: whether the weights are to change.

    Raises:
        SqgenError: as `Quantization`.
        PeerLostError: another process has gone.
    """
    if not world.leads:
        world.wait_for_lead()
        told = world.tell()
        bits = parse_bits_file(told, "bits of rank 0") if told else None
    quantization = None
    if bits is not None:
        quantization = Quantization(bits, net, trains)
        quantization.start()
    if world.leads:
        world.wait_for_lead()
        world.tell(format_bits_file(quantization.calibrated()) if quantization else "")
    return quantization
