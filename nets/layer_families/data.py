"""Data layers: the shapes of their tops, from the prototxt and the size of the records.

HDF5Output, which saves what HDF5Data reads, is here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...formats.schema import LayerParameter
from ..windows import ShapeError, UnknownSizeError
from .base import Shape, Shapes, register, shape_list

ASSUMED_CHANNELS = 3  # of records, where the prototxt does not say


def _label_and(layer: LayerParameter, shape: Shape) -> list[Shape]:
    return [shape, (shape[0],)][: len(layer.top)]


def _transformed(layer: LayerParameter, image: Shape, stored: Sequence[int] = (0, 0)) -> Shape:
    """Return (channels, height, width) after DataTransformer, which may crop."""
    crop = layer.transform_param.crop_size
    if crop and any(0 < side < crop for side in stored):
        raise ShapeError(f"crop_size {crop} is larger than its images, {stored[0]}x{stored[1]}")
    if not crop and 0 in image:
        raise UnknownSizeError(
            "the size of its images is not in the prototxt (no crop_size); give --image CxHxW"
        )
    return (image[0], crop or image[1], crop or image[2])


def _data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """Records' channels are not in the prototxt: as many as there are mean values, or three."""
    batch = layer.data_param.batch_size
    if image is not None:
        return _label_and(layer, (batch, *_transformed(layer, image, image[1:])))
    channels = channels_by_transform(layer) or ASSUMED_CHANNELS
    return _label_and(layer, (batch, *_transformed(layer, (channels, 0, 0))))


def channels_by_transform(layer: LayerParameter) -> int | None:
    """Return the channels of a Data layer's records; None where `transform_param` does not say."""
    transform = layer.transform_param
    if transform.force_gray:
        return 1
    means = len(transform.mean_value)
    return 3 if transform.force_color else means if means > 1 else None


def _image_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.image_data_param
    stored = (param.new_height, param.new_width)
    height, width = stored if any(stored) else (image or (0, 0, 0))[1:]
    image = (3 if param.is_color else 1, height, width)
    return _label_and(layer, (param.batch_size, *_transformed(layer, image, stored)))


def _memory_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.memory_data_param
    shape = (param.batch_size, param.channels, param.height, param.width)
    if 0 in shape:
        raise ShapeError("batch_size, channels, height and width must all be positive")
    return _label_and(layer, shape)


def _dummy_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    param = layer.dummy_data_param
    shapes = [tuple(shape.dim) for shape in param.shape]
    legacy = param.num or param.channels or param.height or param.width
    if shapes and legacy:
        raise ShapeError("give shape, or num, channels, height and width, not both")
    if len(param.data_filler) not in (0, 1, len(layer.top)):
        raise ShapeError("give data_filler once, or once a top")
    if not shapes:
        axes = [list(axis) for axis in (param.num, param.channels, param.height, param.width)]
        if any(len(axis) not in (1, len(layer.top)) for axis in axes):
            raise ShapeError("give shape, or num, channels, height and width once or per top")
        tops = len(layer.top)
        each = (axis if len(axis) == tops else axis * tops for axis in axes)
        shapes = list(zip(*each, strict=True))
    return _per_top(layer, shapes)


def _hdf5_data(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    """The files alone say; with a size of images, further tops count as labels."""
    if layer.HasField("transform_param"):
        raise ShapeError("HDF5Data does not transform data: remove transform_param")
    if image is None:
        raise UnknownSizeError("the shapes of its tops are in its HDF5 files; give --image CxHxW")
    batch = layer.hdf5_data_param.batch_size
    return [(batch, *image), *[(batch,)] * (len(layer.top) - 1)]


def _input(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    return _per_top(layer, [tuple(shape.dim) for shape in layer.input_param.shape])


def _per_top(layer: LayerParameter, shapes: list[Shape]) -> list[Shape]:
    if len(shapes) not in (1, len(layer.top)):
        raise ShapeError(f"it has {len(layer.top)} tops but {len(shapes)} shapes; give 1 or each")
    return shapes if len(shapes) == len(layer.top) else shapes * len(layer.top)


def _hdf5_output(layer: LayerParameter, bottoms: Shapes, image: Shape | None) -> list[Shape]:
    if not layer.hdf5_output_param.file_name:
        raise ShapeError("no file_name; name the HDF5 file to write")
    data, label = bottoms
    if len(data) > 4 or len(label) > 4:
        raise ShapeError(f"{shape_list(bottoms)}: it saves blobs of four axes at most")
    if data[:1] != label[:1]:
        raise ShapeError(f"{shape_list(bottoms)} differ in their batch size")
    return []


register("Data", top_shapes=_data, bottom_count=(0, 0), top_count=(1, 2))
register("ImageData", top_shapes=_image_data, bottom_count=(0, 0), top_count=(2, 2))
register("MemoryData", top_shapes=_memory_data, bottom_count=(0, 0), top_count=(2, 2))
register("HDF5Data", top_shapes=_hdf5_data, bottom_count=(0, 0), top_count=(1, None))
register("DummyData", top_shapes=_dummy_data, bottom_count=(0, 0), top_count=(1, None))
register("Input", top_shapes=_input, bottom_count=(0, 0), top_count=(1, None))
register(
    "HDF5Output", top_shapes=_hdf5_output, bottom_count=(2, 2), top_count=(0, 0), ends_net=True
)
