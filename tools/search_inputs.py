"""What commands with a search read: weights, the size of images, and images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FormatError
from ..extras import required
from ..text import printable
from .image_options import PreprocessingOptions, choose_preprocessing, find_images
from .terminal import warn

if TYPE_CHECKING:
    from ..engine.input_images import InputImages
    from ..formats.schema import NetParameter
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape


class SeenImages(NamedTuple):
    """Images that weights were fitted to, or a choice was scored on.

    Attributes:
        source: the LMDB or folder, as typed.
        number: how many there are.
        digest: of an LMDB, that of `nets/dataset.py`, which `sqgen test` has, too; of files, of
            their pixels as the net reads them.
    """

    source: str
    number: int
    digest: str


def identify_images(source: str, images: InputImages) -> SeenImages:
    """Return what tells images that were read from others.

    Raises:
        FormatError: the LMDB is no longer there.
    """
    from ..formats.lmdb_reader import is_lmdb
    from ..nets.dataset import lmdb_digest
    from ..search.journal import array_digest

    digest = (
        lmdb_digest(source)
        if is_lmdb(source)
        else f"files-{images.total}-{array_digest([images.batches])}"
    )
    return SeenImages(source, images.total, digest)


def all_seen(model: NetParameter, seen: SeenImages | None) -> list[str]:
    """Return the digests of all images that weights depend on, noted in them before and now."""
    from ..formats.pruning_images import noted_images

    now = [] if seen is None else [seen.digest]
    return list(dict.fromkeys([*noted_images(model), *now]))


def read_net_weights(path: str, net: NetDefinition, image: Shape | None) -> NetParameter:
    """Read a caffemodel, or compressed weights of the net."""
    if path.lower().endswith((".sqz", ".net")):
        from ..compress.encoding import read_compressed

        return read_compressed(path, net, image)
    from ..formats.caffemodel import read_caffemodel

    return read_caffemodel(path)


def find_image_size(net: NetDefinition, data: str | None) -> Shape | None:
    """Return the size of the images of a net whose data layers don't say it, where others do."""
    from ..formats.lmdb_reader import is_lmdb
    from ..generator.recognize import find_design
    from ..nets.shapes import infer_shapes
    from ..runner.overrides import DataOverride
    from ..runner.preflight import image_of_data

    if all(problem.rule != "image-size" for problem in infer_shapes(net, "TEST").problems):
        return None
    built = find_design(net)
    if built is not None:
        return built.design.image
    if data is None or not is_lmdb(data):
        return None
    return image_of_data(net, DataOverride("TEST", data))


def read_images(
    source: str,
    net_path: str,
    net: NetDefinition,
    shape: Shape | None,
    options: PreprocessingOptions,
) -> InputImages:
    """Read images as the net takes them, and say how."""
    with required("torch", "--data"):
        from ..engine.api import Net
        from ..engine.classify import Model, read_transform
        from ..engine.input_images import read_files, read_records
    from ..formats.lmdb_reader import is_lmdb
    from ..nets.deploy import deploy_net
    from ..nets.family import is_imagenet
    from ..nets.shapes import require_shapes

    made = deploy_net(net, image=shape).definition
    read = Model(made, read_transform(net), is_imagenet(require_shapes(made, "TEST")))
    choice = choose_preprocessing(Net(made), read, net_path, options)
    errors: list[FormatError] = []
    if is_lmdb(source):
        images = read_records(source, choice.preprocessing, warn)
    else:
        images = read_files(find_images([source]), choice.preprocessing, errors.append, warn)
    if not images.total:
        raise _no_images(source, errors)
    choice.report()
    warn(*map(str, errors))
    return images


def _no_images(source: str, errors: Sequence[FormatError]) -> FormatError:
    """Return the error of files or records of which none could be read."""
    if len(errors) == 1:
        return errors[0]
    why = f"; the first: {errors[0]}" if errors else ""
    return FormatError(f"{printable(source)}: has no images that can be read{why}")
