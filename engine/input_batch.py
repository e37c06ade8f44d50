"""The tops of a net's data layers for one batch: from a dataset, an array, or a filler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import NetError
from ..nets.layer_types import Shape
from ..text import printable
from .fillers import fill
from .hooks import Hooks
from .loader import Loader
from .tensors import all_finite
from .wiring import WiredLayer

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Tensor = torch.Tensor


@dataclass
class InputBlob:
    """A top of a data layer for a whole batch.

    Attributes:
        values: (batch, ...), bytes or floats.
        mean: (channels,) to subtract from `values`, or None.
        scale: to multiply them by afterwards.
        finished: whether `values` are transformed already; mean and scale are then unused.
    """

    values: Tensor
    mean: Tensor | None = None
    scale: float = 1.0
    finished: bool = True

    @property
    def records(self) -> int:
        """Records in the batch; a scalar counts as one."""
        return len(self.values) if self.values.dim() else 1

    def is_finite(self) -> bool:
        """Return whether the values that layers read are no nan or inf; bytes are none."""
        factors = [torch.tensor(self.scale), *([] if self.mean is None else [self.mean])]
        tensors = [self.values, *([] if self.finished else factors)]
        return all_finite(tensor for tensor in tensors if tensor.is_floating_point())

    def slice_records(
        self, start: int, end: int, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """Return records `start` to `end` (exclusive) in the form that layers read.

        Images are channels-last. Pixels become (pixel - mean) * scale, as in
        src/caffe/data_transformer.cpp.
        """
        values = self.values[start:end] if self.values.dim() else self.values
        if device.type != "cpu":
            values = values.to(device, non_blocking=True)
        if not self.finished:
            values = values.to(dtype)
            if self.mean is not None:
                _subtract(values, self.mean.to(device=device, dtype=dtype))
            if self.scale != 1.0:
                values = values.mul_(self.scale)
        values = values.to(dtype)
        if values.dim() == 4:
            values = values.contiguous(memory_format=torch.channels_last)
        return values


def _subtract(pixels: Tensor, mean: Tensor) -> None:
    """Subtract each channel's mean in place.

    In channels-last memory a row is one run of values, which is several times faster.
    """
    rows = pixels.permute(0, 2, 3, 1)
    if rows.is_contiguous():
        n, height, width, channels = rows.shape
        rows.view(n, height, width * channels).sub_(mean.repeat(width))
    else:
        pixels.sub_(mean[:, None, None])


class InputLayers:
    """The data layers of a net.

    Args:
        layers: the data layers, in order.
        loaders: of data layers that read files, by layer name.
        source: the net's file, for messages.
        dtype: of the tops that layers read.
        device: of these tops.
    """

    def __init__(
        self,
        layers: Sequence[WiredLayer],
        loaders: Mapping[str, Loader],
        source: str,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.layers = list(layers)
        self.loaders = dict(loaders)
        self.dtype, self.device = dtype, device
        self._source = printable(source)

    def next(
        self, arrays: Mapping[str, ArrayLike] | None, key: tuple[int, ...], hooks: Hooks
    ) -> dict[str, InputBlob]:
        """Return the next batch of every data layer, as hooks leave it.

        Args:
            arrays: blob name -> array, for tops of layers without a loader.
            key: of the random numbers of fillers.
            hooks: observers of layers.

        Raises:
            NetError: a layer without data, or an array for a blob that is no top of a data layer.
        """
        unused = dict(arrays or {})
        blobs: dict[str, InputBlob] = {}
        for number, layer in enumerate(self.layers):
            hooks.before_forward(layer, [])
            tops = self._next(number, unused, key)
            if layer.name in hooks:
                tensors = hooks.after_forward(layer, [self.convert(blob) for blob in tops.values()])
                tops = dict(zip(tops, map(InputBlob, tensors), strict=True))
            blobs |= tops
        if unused:
            names = ", ".join(name for layer in self.layers for name in layer.tops)
            unknown = printable(next(iter(unused)))
            raise NetError(f"{self._source}: no input '{unknown}'; its inputs are {names}")
        return blobs

    def convert(self, blob: InputBlob) -> Tensor:
        """Return a top of the whole batch in the form that layers read."""
        return blob.slice_records(0, blob.records, self.dtype, self.device)

    def _next(
        self, number: int, arrays: dict[str, ArrayLike], key: tuple[int, ...]
    ) -> dict[str, InputBlob]:
        """Return the next batch of one data layer; remove the arrays that it reads."""
        layer = self.layers[number]
        loader = self.loaders.get(layer.name)
        if loader is not None:
            return dict(zip(layer.tops, _load_batch(loader), strict=True))
        blobs = {}
        for index, name in enumerate(layer.tops):
            shape = layer.top_shapes[index]
            if name in arrays:
                blobs[name] = read_array(layer, name, arrays.pop(name), shape)
            else:
                blobs[name] = _default_top(layer, index, (*key, number))
        return blobs

    def close(self) -> None:
        """End the threads that read data."""
        for loader in self.loaders.values():
            loader.close()


def _load_batch(loader: Loader) -> list[InputBlob]:
    batch = loader.next()
    mean = None if loader.mean is None else torch.from_numpy(np.asarray(loader.mean))
    first, *others = map(torch.from_numpy, batch.tops)
    return [InputBlob(first, mean, loader.scale, batch.finished), *map(InputBlob, others)]


def read_array(layer: WiredLayer, name: str, values: ArrayLike, shape: Shape) -> InputBlob:
    """Return an array from Python as a blob.

    Args:
        layer: the layer that makes or reads the blob, for messages.
        name: of the blob.
        values: (batch, ...).
        shape: of the blob in the prototxt's batch size.

    Raises:
        NetError: it is no array of numbers, its shape differs in more than the batch size, or it
            has no records.
    """
    where = f"layer '{printable(layer.name)}': blob '{printable(name)}'"
    try:
        array = np.asarray(values, order="C")
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise NetError(f"{where}: no array of numbers: {printable(str(error), 100)}") from None
    if array.ndim and not len(array):
        raise NetError(f"{where}: an array of no records")
    if array.ndim != len(shape) or array.shape[1:] != tuple(shape[1:]):
        raise NetError(f"{where} has shape {tuple(shape)}, not {array.shape}")
    return InputBlob(torch.from_numpy(array))


def _default_top(layer: WiredLayer, index: int, key: tuple[int, ...]) -> InputBlob:
    """Return a top that neither a loader nor an array fills: zeros, or from its filler.

    Raises:
        NetError: the layer's data must come from a loader or an array.
    """
    where = f"layer '{printable(layer.name)}'"
    shape = layer.top_shapes[index]
    if layer.type == "Input":
        return InputBlob(torch.zeros(shape))
    if layer.type == "MemoryData":
        raise NetError(
            f"{where}: MemoryDataLayer needs to be initialized by calling Reset, which"
            " only a program can; use a Data layer, or sqgen.Net from Python"
        )
    if layer.type != "DummyData":
        raise NetError(f"{where}: no array for its blob '{printable(layer.tops[index])}'")
    # Constants stay, other fillers draw anew for each batch.
    fillers = layer.param.dummy_data_param.data_filler
    if not fillers:
        return InputBlob(torch.zeros(shape))
    filler = fillers[index if len(fillers) > 1 else 0]
    return InputBlob(torch.from_numpy(fill(filler, shape, (*key, index), where)))
