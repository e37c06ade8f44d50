"""The pass that lets integer kernels compute a schedule's quantized convolutions.

A blob is in codes where all that reads it wants the same: a convolution, codes of its quantizer;
max pooling, Concat and ReLU, what their readers want, since they commute with a quantizer. So a
convolution writes the codes that its reader would make of its floats. All other blobs are floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .kernels.base import Kernel
from .kernels.codes import CodeFormat
from .kernels.convolution import Convolution
from .kernels.integer import IntegerConvolution, has_integer_kernel
from .parameters import Parameters
from .quantizers import LayerQuantizers, Uniform
from .schedule import Step

Wanted = CodeFormat | None  # None: floats


def integer_schedule(
    steps: Sequence[Step], parameters: Parameters, quantizers: LayerQuantizers, keep: Iterable[str]
) -> list[Step]:
    """Return the steps with integer kernels where there are some.

    Args:
        steps: a fused schedule.
        parameters: of the net.
        quantizers: of its layers.
        keep: blobs that are floats, such as outputs.
    """
    wanted: dict[str, list[Wanted]] = {name: [None] for name in keep}
    result: list[Step] = []
    for step in reversed(steps):
        tops = [_common(wanted.pop(name, [])) for name in step.tops]
        kernel = _kernel(step, parameters, quantizers, _common(tops))
        for name in step.bottoms:
            wanted.setdefault(name, []).append(_of_bottoms(kernel, tops))
        result.append(replace(step, kernel=kernel))
    return result[::-1]


def _common(wanted: Sequence[Wanted]) -> Wanted:
    """Return what all readers of a blob want, or floats."""
    return wanted[0] if len(set(wanted)) == 1 else None


def _kernel(step: Step, parameters: Parameters, quantizers: LayerQuantizers, top: Wanted) -> Kernel:
    """Return the integer kernel of a step, or its own where there is none."""
    plain, name = step.kernel, step.layer.name
    if not isinstance(plain, Convolution):
        return plain
    weight = parameters.unique[step.parameters[0]].data
    bottom, weights = quantizers.bottoms.get(name), quantizers.weights.get(name)
    if not (isinstance(bottom, Uniform) and isinstance(weights, Uniform)):
        return plain
    if not has_integer_kernel(plain, weight, bottom, weights):
        return plain
    return IntegerConvolution(plain, bottom, weights, top)


def _of_bottoms(kernel: Kernel, tops: Sequence[Wanted]) -> Wanted:
    """Return what a kernel wants its bottoms to be."""
    if kernel.encoder is not None:
        return kernel.encoder.format
    return _common(tops) if kernel.accepts_codes else None
