"""Options and images that `sqgen classify` and `features` share: files, folders, preprocessing."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..errors import FormatError
from ..nets.image_transform import ImageTransform, Size, check_input
from ..nets.layer_types import Shape
from ..text import printable
from .progress_bar import print_note
from .terminal import parse_size, warn

if TYPE_CHECKING:
    from ..engine.api import Net
    from ..engine.classify import Model, Preprocessing

_OPTIONS = (
    click.option(
        "--resize",
        metavar="HxW",
        help="resize images [256x256 for nets of ImageNet, else the input]",
    ),
    click.option("--like", metavar="TRAIN_VAL", help="preprocess as this net's data layer says"),
    click.option(
        "--mean", metavar="B,G,R|FILE", help="subtract per channel, or a mean file's channel means"
    ),
    click.option("--scale", type=float, help="factor on pixels after the mean"),
)


def preprocessing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a `PreprocessingOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class PreprocessingOptions(NamedTuple):
    """How images are preprocessed, as typed; None leaves it to the net."""

    resize: str | None
    like: str | None
    mean: str | None
    scale: float | None


class PreprocessingChoice(NamedTuple):
    """The preprocessing of images, and what told it.

    Attributes:
        preprocessing: from a file to the net's input.
        origin: the file or the nets that told it, or empty.
        is_assumed: whether nothing did.
        is_typed: whether the options say all.
    """

    preprocessing: Preprocessing
    origin: str
    is_assumed: bool
    is_typed: bool

    def report(self) -> None:
        """Say what is done to the images, where the user did not type it."""
        if self.is_typed:
            return
        if self.is_assumed:
            warn(
                f"nothing tells how the net's images were preprocessed, so they are"
                f" {self.preprocessing}; --like TRAIN_VAL tells it, or --mean and --scale"
            )
        else:
            told = f" (as {self.origin})" if self.origin else ""
            print_note(f"sqgen: images are {self.preprocessing}{told}")


def check_preprocessing(options: PreprocessingOptions) -> None:
    """Refuse options that contradict each other or can't be read, before anything is loaded."""
    if options.resize is not None:
        parse_size(options.resize)
    if options.like is not None and (options.mean is not None or options.scale is not None):
        raise click.UsageError("--like: tells mean and scale; give it or --mean and --scale")
    if options.scale is not None and not math.isfinite(options.scale):
        raise click.UsageError(f"--scale {options.scale:g}: give a number")
    _mean_values(options.mean)


def check_images_fit(options: PreprocessingOptions, image: Shape) -> None:
    """Check that the options fit the input of a net, as far as they alone tell it.

    Raises:
        NetError: they don't.
    """
    size = None if options.resize is None else parse_size(options.resize)
    check_input(image, size, _mean_values(options.mean))


def choose_preprocessing(
    net: Net, read: Model, model: str, options: PreprocessingOptions
) -> PreprocessingChoice:
    """Choose how images are preprocessed for a net, as `engine.classify` does.

    Raises:
        SqgenError: the images do not fit the net, or a file can't be read.
    """
    from ..engine import classify as engine

    overrides = _overrides(options)
    told, origin = _find_transform(read, model, options.like, overrides.mean is None)
    return PreprocessingChoice(
        engine.choose_preprocessing(net, told, overrides),
        origin,
        is_assumed=told is None and overrides.mean is None and options.scale is None,
        is_typed=_mean_values(options.mean) is not None and told is None,
    )


def declared_transform(
    read: Model, model: str, options: PreprocessingOptions, crop: Size | None
) -> ImageTransform | None:
    """Return how images are transformed, as the options or the net say it; None where nothing does.

    `crop` is the size of the net's input, which counts where options say all.

    Raises:
        SqgenError: a file can't be read.
    """
    overrides = _overrides(options)
    told, _ = _find_transform(read, model, options.like, overrides.mean is None)
    typed = {key: value for key, value in overrides._asdict().items() if value is not None}
    return (told or ImageTransform(crop=crop))._replace(**typed) if told or typed else None


def _overrides(options: PreprocessingOptions) -> ImageTransform:
    """Return what the options say in place of the net."""
    from ..engine.classify import channel_means

    means = _mean_values(options.mean)
    if options.mean is not None and means is None:
        means = channel_means(options.mean, "--mean")
    size = None if options.resize is None else parse_size(options.resize)
    return ImageTransform(resize=size, mean=means, scale=options.scale)


def _find_transform(
    read: Model, model: str, like: str | None, needs_mean: bool
) -> tuple[ImageTransform | None, str]:
    """Return what says how images are preprocessed, and its name."""
    from ..engine import classify as engine

    told, source = read.transform, model
    if like is not None:
        told, source = engine.trained_transform(like), like
    if told is not None:
        return (engine.resolve_mean(told, source) if needs_mean else told), printable(source)
    if read.is_imagenet:
        return engine.IMAGENET_TRANSFORM, "ImageNet's nets"
    return None, ""


def _mean_values(text: str | None) -> tuple[float, ...] | None:
    """Return the numbers of --mean; None of a file."""
    if text is None or os.path.isfile(text):
        return None
    try:
        values = tuple(float(value) for value in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(map(math.isfinite, values)):
        raise click.UsageError(f"--mean '{printable(text)}' is no list such as 104,117,123")
    return values


def find_images(arguments: Sequence[str]) -> Iterator[str]:
    """Yield files as they are, and the images of folders.

    Raises:
        FormatError: a folder can't be read, or has no images.
    """
    from ..formats import images

    for path in arguments:
        if not os.path.isdir(path):
            yield path
            continue
        found = images.find_images(path)
        first = next(found, None)
        if first is None:
            raise FormatError(f"{printable(path)}: has no images ({', '.join(images.SUFFIXES)})")
        yield from chain([first], found)
