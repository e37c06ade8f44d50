"""The pass that lets integer kernels compute a schedule's quantized convolutions.

A blob is in codes where all that reads it wants the same: a convolution, codes of its quantizer;
max pooling, Concat and ReLU, what their readers want, since they commute with a quantizer. So a
convolution writes the codes that its reader would make of its floats. All other blobs are floats.

A convolution also computes the BatchNorm or Scale behind it: their factors go into the steps of its
weights, so that it has the codes that it has without them, and the sums are the same.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import replace

from .kernels.base import Kernel
from .kernels.codes import CodeFormat
from .kernels.convolution import Convolution
from .kernels.integer import IntegerConvolution, has_integer_kernel
from .kernels.normalization import AffineKernel
from .parameters import Parameters
from .quantizers import LayerQuantizers, Uniform
from .schedule import Step, schedule_releases, step_graph

Wanted = CodeFormat | None  # None: floats


def integer_schedule(
    steps: Sequence[Step],
    parameters: Parameters,
    quantizers: LayerQuantizers,
    outputs: Collection[str],
    keep: Collection[str] = (),
    observed: Container[str] = (),
) -> list[Step]:
    """Return the steps with integer kernels where there are some.

    Args:
        steps: a fused schedule, whose kernels are of this schedule alone.
        parameters: of the net.
        quantizers: of its layers.
        outputs: blobs that are floats.
        keep: blobs that are not hidden, besides.
        observed: names of layers that are not hidden.
    """
    keep = {*keep, *outputs}
    steps = [_with_integer_kernel(step, parameters, quantizers) for step in steps]
    steps = _fold_affine(steps, parameters, keep, observed)
    _choose_formats(steps, outputs)
    return schedule_releases(steps, keep)


def _with_integer_kernel(step: Step, parameters: Parameters, quantizers: LayerQuantizers) -> Step:
    """Return a step with its integer kernel, or as it is where there is none."""
    plain, name = step.kernel, step.layer.name
    if not isinstance(plain, Convolution):
        return step
    weight = parameters.unique[step.parameters[0]].data
    bottom, weights = quantizers.bottoms.get(name), quantizers.weights.get(name)
    if not (isinstance(bottom, Uniform) and isinstance(weights, Uniform)):
        return step
    if not has_integer_kernel(plain, weight, bottom, weights):
        return step
    return replace(step, kernel=IntegerConvolution(plain, bottom, weights))


def _fold_affine(
    steps: Sequence[Step], parameters: Parameters, keep: Container[str], observed: Container[str]
) -> list[Step]:
    """Let each integer kernel compute the BatchNorm or Scale that alone reads what it writes."""
    graph = step_graph(steps)
    folded: set[int] = set()
    for node in graph.nodes:
        step, source = node.layer, node.sources[0] if len(node.sources) == 1 else None
        if source is None or not isinstance(step.kernel, AffineKernel):
            continue
        maker, made = steps[source.layer], graph.name(source)
        kernel = maker.kernel
        if (
            isinstance(kernel, IntegerConvolution)
            and not kernel.relu
            and len(maker.tops) == 1
            and not maker.is_loss
            and len(graph.readers(source)) == 1
            and (made in step.tops or made not in keep)
            and maker.layer.name not in observed
            and step.layer.name not in observed
            and _is_finite(step, parameters)
        ):
            kernel.compute_affine(step.kernel)
            maker.tops, maker.loss_weights = step.tops, step.loss_weights
            maker.parameters = [*maker.parameters, *step.parameters]
            folded.add(node.index)
    return [step for index, step in enumerate(steps) if index not in folded]


def _is_finite(step: Step, parameters: Parameters) -> bool:
    """Whether a layer multiplies each channel by a finite factor, and adds a finite shift."""
    assert isinstance(step.kernel, AffineKernel)
    affine = step.kernel.channel_affine([parameters.unique[n].data for n in step.parameters])
    return affine is not None and all(bool(each.isfinite().all()) for each in affine)


def _choose_formats(steps: Sequence[Step], outputs: Iterable[str]) -> None:
    """Let each integer kernel write codes where all readers of its top want the same."""
    wanted: dict[str, list[Wanted]] = {name: [None] for name in outputs}
    for step in reversed(steps):
        tops = [_common(wanted.pop(name, [])) for name in step.tops]
        if isinstance(step.kernel, IntegerConvolution):
            step.kernel.top = _common(tops)
        for name in step.bottoms:
            wanted.setdefault(name, []).append(_of_bottoms(step.kernel, tops))


def _common(wanted: Sequence[Wanted]) -> Wanted:
    """Return what all readers of a blob want, or floats."""
    return wanted[0] if len(set(wanted)) == 1 else None


def _of_bottoms(kernel: Kernel, tops: Sequence[Wanted]) -> Wanted:
    """Return what a kernel wants its bottoms to be."""
    if kernel.encoder is not None:
        return kernel.encoder.format
    return _common(tops) if kernel.accepts_codes else None
