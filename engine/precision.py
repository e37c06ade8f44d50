"""The number format of a run: as asked, or the fastest on this processor."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import torch

from ..compress.bits_file import MSE, PAIR, SHARED, SYMMETRIC, BitsFile, QuantizerSettings
from ..errors import NetError
from ..host import cpu_flags
from ..nets.data_layers import has_countable_records
from ..nets.definition import NetDefinition
from ..text import printable
from . import glog
from .executor import PRECISIONS, Executor
from .flags import AUTO, INT8, CommandLine
from .kernels.convolution import has_bf16
from .kernels.integer import has_integer_convolution, saturates
from .quantization import Quantization

ANYWAY = "SQGEN_INT8_ANYWAY"  # environment variable: run int8 where it is slower than fp32, too
_BITS = 8
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
_NAMES_SHOWN = 5
_CONVOLUTION = "Convolution"  # the type that has integer kernels
_NO_KERNEL = f"integer kernels are of {_CONVOLUTION} layers, and none fits; give fp32"
ARRAY_PRECISIONS = (*PRECISIONS, INT8, AUTO)  # of `sqgen.Net`


def float_precision(line: CommandLine, gpu: str) -> str:
    """Return the format of a run that computes in floats.

    Raises:
        NetError: int8 was asked for.
    """
    precision = line.text("precision")
    if precision == INT8:
        raise NetError(f"--precision {INT8} is for test; give fp32, bf16 or fp64")
    return _log_choice(_fastest_float(gpu)) if precision == AUTO else precision


def test_precision(
    line: CommandLine,
    gpu: str,
    definition: NetDefinition,
    bits: BitsFile | None,
) -> str:
    """Return the format of a test, which may be int8.

    Args:
        line: the flags.
        gpu: the number of the GPU; empty for the CPU.
        definition: the net.
        bits: how it is to be quantized; or None.

    Raises:
        NetError: int8 was asked for, and would be slower than fp32, or does not run.
    """
    precision = line.text("precision")
    if precision not in (INT8, AUTO):
        return precision
    obstacle = _int8_obstacle(definition, bits, gpu)
    if precision == INT8:
        if obstacle is not None:
            raise NetError(f"--precision {INT8}: {obstacle}")
        return INT8
    can_calibrate = any(map(has_countable_records, definition.layers("TEST")))
    if obstacle is None and (can_calibrate or (bits is not None and bits.ranges)):
        return _log_choice(INT8)
    return _log_choice(_fastest_float(gpu))


def array_precision(
    asked: str, phase: str, definition: NetDefinition, bits: BitsFile | None, has_images: bool
) -> str:
    """Return the format of a net that reads arrays, on the CPU.

    Args:
        asked: one of `ARRAY_PRECISIONS`.
        phase: `TRAIN` or `TEST`.
        definition: the net.
        bits: how it is to be quantized; or None.
        has_images: whether there are images to calibrate on.

    Raises:
        NetError: int8 was asked for, and would be slower than fp32, or does not run; or a format
            that needs no images has some.
    """
    if asked not in (INT8, AUTO):
        if has_images and bits is None:
            raise NetError(
                f"precision {asked}: has no ranges that calibration could find; give quantize=FILE,"
                f" or precision='{INT8}' or '{AUTO}'"
            )
        return asked
    obstacle = "is for phase TEST; give fp32, bf16 or fp64"
    if phase == "TEST":
        obstacle = _int8_obstacle(definition, bits) or ""
    if asked == INT8:
        if obstacle:
            raise NetError(f"precision {INT8}: {obstacle}")
        return INT8
    has_ranges = has_images or (bits is not None and bool(bits.ranges))
    return _fastest_float("") if obstacle or not has_ranges else INT8


def _log_choice(precision: str) -> str:
    glog.info(f"--precision {AUTO} is {precision} here")
    return precision


def _fastest_float(gpu: str) -> str:
    has_fast_bf16 = bool(_BF16_FLAGS & cpu_flags()) and has_bf16()
    return "bf16" if gpu or has_fast_bf16 else "fp32"


def _int8_obstacle(definition: NetDefinition, bits: BitsFile | None, gpu: str = "") -> str | None:
    """Return why int8 does not run here, or should not; None if it should."""
    if gpu:
        return "is of the CPU; leave out --gpu, or give bf16"
    if not has_integer_convolution():
        return "this PyTorch has no integer kernels; give fp32"
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX") and ANYWAY not in os.environ:
        return "slower than fp32 on this processor, which has no AVX2; give fp32"
    if not any(layer.type == _CONVOLUTION for layer in definition.layers("TEST")):
        return f"{printable(definition.source)}: {_NO_KERNEL}"
    if bits is not None and bits.source and (bits.entropy or bits.weight_kind != SYMMETRIC):
        kind = SHARED if bits.entropy else bits.weight_kind
        return (
            f"{printable(bits.source)}: its weights are {kind}, no multiples of a step"
            f' as integers are; write weights = "{SYMMETRIC}" in [quantizer], or give fp32'
        )
    return None


def integer_bits(given: BitsFile | None, warn: Callable[[str], None] = glog.warning) -> BitsFile:
    """Return the bits of a net in integers: as given, and 8 where nothing is given.

    Where sums saturate, the codes of weights are such that no sum does; weights whose ranges a file
    finds in another way get 7 bits, which `warn` says.
    """
    file = given or BitsFile()
    if not file.source:
        rule = PAIR if saturates() else MSE
        settings = QuantizerSettings(SYMMETRIC, channels=True, weight_range=rule)
        return replace(file, quantizer=settings).with_default_bits(_BITS, _BITS)
    fits = not saturates() or file.quantizer.weight_range == PAIR
    most = _BITS if fits else _BITS - 1
    if any(bits > most for bits in file.weights.values()):
        warn(
            f"weights of {_BITS} bits get {most}: this processor has no VNNI, and adds products of"
            f' integers in 16 bits; weight_range = "{PAIR}" leaves them {_BITS}'
        )
        rules = {pattern: min(bits, most) for pattern, bits in file.weights.items()}
        file = replace(file, weights=rules)
    return file.with_default_bits(most, _BITS)


def kernel_precision() -> str:
    """Return what ranks that compute in integers have to have in common."""
    return f"{INT8} {'without' if saturates() else 'with'} VNNI"


def compute_in_integers(net: Executor, quantization: Quantization) -> str:
    """Let integer kernels run a net whose quantizers are set; return which layers, as a line.

    Raises:
        NetError: they run none.
    """
    computed = net.compute_in_integers()
    if not computed:
        raise NetError(f"precision {INT8}: {printable(net.definition.source)}: {_NO_KERNEL}")
    names = [printable(name) for name in quantization.layers if name not in computed]
    shown = ", ".join([*names[:_NAMES_SHOWN], *["..."] * (len(names) > _NAMES_SHOWN)])
    simulated = f"; simulates {shown}" if names else ""
    return f"Computes {len(computed)} layers in integers of 8 bits{simulated}"
