"""The design space as one validated value.

The formulas are section 5 of the SqueezeNet paper (Iandola et al., arXiv:1602.07360): Fire
module i (0 for fire2) has

    e_i = base_e + incr_e * floor(i / freq)      expand filters
    e_i * pct3x3                                 of them 3x3, the rest 1x1
    s_i = SR * e_i                               squeeze filters

Each field is an option of `sqgen build`, a key of a design file, and an argument of `Design`;
the metadata beside it is the one place that names its flag, group and help.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from ..errors import DesignError, did_you_mean
from ..formats.solver import POLICIES, SOLVERS
from ..formats.windows import Window
from . import bypass as placement
from . import limits

VERSIONS = ("1.0", "1.1")
STEMS = ("1.0", "1.1", "small")
BACKENDS = ("lmdb", "leveldb", "imagedata")
CONCAT_ORDERS = ("1x1,3x3", "3x3,1x1")
CLASSIFIER_FILLERS = ("gaussian", "xavier", "msra")
NAMINGS = ("squeezenet", "residual", "firenet", "generator")
STYLES = ("clean", "v1.0", "v1.1", "residual", "firenet", "generator")

# Filters of conv1: the published ones; `small` is ours, for images of 32x32 or so.
STEM_FILTERS = {"1.0": 96, "1.1": 64, "small": 64}
STEM_WINDOWS = {"1.0": (7, 2, 0), "1.1": (3, 2, 0), "small": (3, 1, 1)}  # kernel, stride, pad
# Fire modules followed by a pooling: v1.1 moved them up, which is where its speed is from.
POOL_AFTER = {"1.0": (4, 8), "1.1": (3, 5)}
IMAGENET_MEANS = (104.0, 117.0, 123.0)
IMAGENET_CLASSES = 1000
SMALL_INPUT = 64


class Fire(NamedTuple):
    """The filters of one Fire module."""

    module: int
    inputs: int
    squeeze: int
    expand1x1: int
    expand3x3: int

    @property
    def outputs(self) -> int:
        """Channels after the concat."""
        return self.expand1x1 + self.expand3x3


def _option(default: Any, group: str, flag: str, text: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"group": group, "flag": flag, "help": text, **metadata})


@dataclass(frozen=True, repr=False)
class Design:
    """A SqueezeNet: architecture, data, text and solver. Fields left None are derived.

    Raises:
        DesignError: the values make no net; the message names the option and the remedy.
    """

    version: str = _option(
        "1.0", "net", "--version", "SqueezeNet version: stem and pooling places", choices=VERSIONS
    )
    bypass: str = _option(
        "none", "net", "--bypass", "none, simple, complex, or modules: 3,5,7,9 or 2:conv,3"
    )
    bypass_relu: bool = _option(
        False, "net", "--bypass-relu", "a ReLU after each convolution of a bypass"
    )
    fire_modules: int = _option(8, "net", "--fire-modules", "number of Fire modules")
    base_e: int = _option(128, "net", "--base-e", "expand filters of the first Fire module")
    incr_e: int = _option(128, "net", "--incr-e", "expand filters added every --freq modules")
    freq: int = _option(2, "net", "--freq", "Fire modules between increments")
    pct3x3: float = _option(0.5, "net", "--pct3x3", "share of 3x3 among the expand filters")
    squeeze_ratio: float = _option(0.125, "net", "--sr", "squeeze filters per expand filter")
    classes: int = _option(IMAGENET_CLASSES, "net", "--classes", "number of classes")
    size: int = _option(227, "net", "--size", "height and width of the input, in pixels")
    channels: int = _option(3, "net", "--channels", "channels of the input; 1: gray")
    stem: str | None = _option(
        None,
        "net",
        "--stem",
        "first layers; default: --version's, small up to 64 pixels",
        choices=STEMS,
    )
    stem_filters: int | None = _option(None, "net", "--stem-filters", "filters of conv1 [96 or 64]")
    pool_after: tuple[int, ...] | None = _option(
        None, "net", "--pool-after", "Fire modules followed by a pooling, or none [4,8; v1.1: 3,5]"
    )
    dropout: float = _option(
        0.5, "net", "--dropout", "dropout ratio before the classifier; 0: none"
    )
    batch_norm: bool = _option(False, "net", "--batch-norm", "BatchNorm after every convolution")
    conv10_pad: int | None = _option(
        None,
        "net",
        "--conv10-pad",
        "padding of the classifier [1 in v1.0, whose weights need it]",
    )
    classifier_relu: bool = _option(
        True,
        "net",
        "--classifier-relu",
        "a ReLU after the classifier, as published; small nets may die of it",
    )
    classifier_filler: str = _option(
        "gaussian",
        "net",
        "--classifier-filler",
        "how the classifier starts; gaussian: deviation 0.01, as published",
        choices=CLASSIFIER_FILLERS,
    )
    explicit_pool10: bool = _option(
        False, "net", "--explicit-pool10", "a fixed kernel in place of global pooling"
    )
    concat_order: str = _option(
        "1x1,3x3",
        "net",
        "--concat-order",
        "which expand convolution comes first",
        choices=CONCAT_ORDERS,
    )

    name: str | None = _option(None, "text", "--name", "the net's name; empty: none")
    naming: str | None = _option(
        None, "text", "--naming", "layer names of a published net", choices=NAMINGS
    )
    style: str = _option(
        "clean", "text", "--style", "clean, or the way a published file is written", choices=STYLES
    )
    classifier: str | None = _option(
        None, "text", "--classifier", "name of the last convolution; default: renamed by --classes"
    )
    classifier_lr: float | None = _option(
        None,
        "text",
        "--classifier-lr",
        "learning rate multiplier of the classifier [10 if renamed, else 1]",
    )
    deploy_batch: int | None = _option(
        None, "text", "--deploy-batch", "batch size of the deploy net [1, or as published]"
    )

    train_source: str = _option(
        "examples/imagenet/ilsvrc12_train_lmdb", "data", "--train-source", "training set"
    )
    val_source: str = _option(
        "examples/imagenet/ilsvrc12_val_lmdb", "data", "--val-source", "validation set"
    )
    backend: str = _option(
        "lmdb",
        "data",
        "--backend",
        "what the sets are; imagedata: lists of files",
        choices=BACKENDS,
    )
    batch_size: int = _option(32, "data", "--batch-size", "training images per GPU and pass")
    val_batch_size: int = _option(25, "data", "--val-batch-size", "validation images per pass")
    mean_values: tuple[float, ...] | None = _option(
        None,
        "data",
        "--mean-values",
        "subtracted per channel, or none [104,117,123 for 3 channels]",
    )
    mean_file: str = _option("", "data", "--mean-file", "a .binaryproto, in place of mean values")
    scale: float = _option(1.0, "data", "--scale", "factor on every pixel after the mean")
    crop: bool = _option(
        True, "data", "--crop", "crop to --size; without, the records have that size"
    )
    mirror: bool = _option(True, "data", "--mirror", "mirror training images at random")

    effective_batch: int = _option(
        512, "solver", "--effective-batch", "images per update: batch size x iter_size x GPUs"
    )
    gpus: int = _option(1, "solver", "--gpus", "GPUs that the batch is on, each with its own")
    iter_size: int | None = _option(
        None, "solver", "--iter-size", "passes per update; default: from --effective-batch"
    )
    val_images: int = _option(50_000, "solver", "--val-images", "images in the validation set")
    test_iter: int | None = _option(
        None, "solver", "--test-iter", "test batches; default: the whole validation set"
    )
    test_interval: int = _option(1000, "solver", "--test-interval", "iterations between tests")
    test_initialization: bool = _option(
        False, "solver", "--test-initialization", "test before the first iteration"
    )
    solver_type: str = _option("SGD", "solver", "--solver-type", "the update rule", choices=SOLVERS)
    base_lr: float = _option(0.04, "solver", "--base-lr", "learning rate at the start")
    lr_policy: str = _option(
        "poly", "solver", "--lr-policy", "how the learning rate falls", choices=tuple(POLICIES)
    )
    gamma: float | None = _option(None, "solver", "--gamma", "step, exp, inv, multistep, sigmoid")
    power: float = _option(1.0, "solver", "--power", "exponent of poly and inv")
    stepsize: int | None = _option(None, "solver", "--stepsize", "iterations per step")
    stepvalues: tuple[int, ...] = _option(
        (), "solver", "--stepvalues", "iterations of multistep, such as 60000,120000"
    )
    max_iter: int = _option(170_000, "solver", "--max-iter", "iterations")
    momentum: float = _option(0.9, "solver", "--momentum", "momentum")
    weight_decay: float = _option(0.0002, "solver", "--weight-decay", "weight decay")
    display: int = _option(40, "solver", "--display", "iterations between log lines")
    average_loss: int = _option(40, "solver", "--average-loss", "iterations the logged loss spans")
    snapshot: int = _option(1000, "solver", "--snapshot", "iterations between snapshots")
    snapshot_prefix: str = _option("train", "solver", "--snapshot-prefix", "start of their names")
    random_seed: int = _option(42, "solver", "--random-seed", "seed; -1: another every time")
    cpu: bool = _option(False, "solver", "--cpu", "solver_mode: CPU in place of GPU")
    net_path: str = _option("train_val.prototxt", "solver", "--net-path", "the solver's net")

    def __post_init__(self) -> None:
        limits.check_fields(self)
        object.__setattr__(self, "bypass", placement.normalize(self.bypass))
        limits.check_together(self)

    def __repr__(self) -> str:
        """What differs from `Design()`."""
        values = ((name, getattr(self, name)) for name in FIELDS)
        changed = [f"{n}={v!r}" for n, v in values if v != FIELDS[n].default]
        return f"Design({', '.join(changed)})"

    # What is derived

    @property
    def modules(self) -> range:
        """The numbers of the Fire modules: 2 to 9 in the paper."""
        return range(2, self.fire_modules + 2)

    @property
    def stem_kind(self) -> str:
        """The stem, where none is asked for: `small` keeps small inputs from vanishing.

        A published net keeps its own, so that its weights still load.
        """
        small = self.size <= SMALL_INPUT and self.style == "clean"
        return self.stem or ("small" if small else self.version)

    @property
    def conv1_filters(self) -> int:
        """Output channels of the first convolution."""
        return self.stem_filters or STEM_FILTERS[self.stem_kind]

    @property
    def pools(self) -> tuple[int, ...]:
        """The Fire modules that a pooling follows."""
        if self.pool_after is not None:
            return self.pool_after
        return tuple(module for module in POOL_AFTER[self.version] if module in self.modules)

    @property
    def classifier_pad(self) -> int:
        """Every published v1.0 net pads its 1x1 classifier; nothing else has reason to."""
        if self.conv10_pad is not None:
            return self.conv10_pad
        return 1 if self.version == "1.0" and self.stem_kind != "small" else 0

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of each channel; none where a mean file has them."""
        if self.mean_values is not None:
            return self.mean_values
        return IMAGENET_MEANS if self.channels == 3 and not self.mean_file else ()

    @property
    def image(self) -> tuple[int, int, int]:
        """(channels, height, width) of what the data layers yield."""
        return (self.channels, self.size, self.size)

    @cached_property
    def fires(self) -> tuple[Fire, ...]:
        """The filters of every Fire module (the paper's section 5.1)."""
        fires = []
        inputs = self.conv1_filters
        for i, module in enumerate(self.modules):
            expand = self.base_e + self.incr_e * (i // self.freq)
            expand3x3 = round_half_up(expand * self.pct3x3)
            squeeze = round_half_up(expand * self.squeeze_ratio)
            fires.append(Fire(module, inputs, squeeze, expand - expand3x3, expand3x3))
            inputs = expand
        return tuple(fires)

    @cached_property
    def extents(self) -> dict[str, int]:
        """Height, which is width, of the blobs that change it: conv1, the pools, the classifier.

        Raises:
            DesignError: the image shrinks to nothing, and at which layer.
        """
        kernel, stride, pad = STEM_WINDOWS[self.stem_kind]
        pool = Window(3, 2, 0, pooling=True, round_up=True)
        windows = {"conv1": Window(kernel, stride, pad), "pool1": pool}
        windows |= {f"pool{module}": pool for module in self.pools}
        windows["classifier"] = Window(1, 1, self.classifier_pad)
        extents: dict[str, int] = {}
        extent = self.size
        for layer, window in windows.items():
            size, extent = extent, window.extent(extent)
            if extent <= 0:
                remedy = "" if self.stem_kind == "small" else ", or use --stem small"
                raise limits.error(
                    self,
                    "size",
                    self.size,
                    f"shrinks to nothing at {layer}, whose input is {size}x{size};"
                    f" raise --size, drop a --pool-after{remedy}",
                )
            extents[layer] = extent
        return extents

    @cached_property
    def bypasses(self) -> dict[int, str]:
        """Module -> `identity` or `conv`, for every Fire module with a bypass."""
        return placement.place(self.bypass, self.fires)

    @property
    def passes(self) -> int:
        """Forward and backward passes per update: the solver's iter_size.

        Raises:
            DesignError: the batches don't add up to the effective batch.
        """
        if self.iter_size is not None:
            return self.iter_size
        per_pass = self.batch_size * self.gpus
        if self.effective_batch % per_pass:
            near = max(round(self.effective_batch / per_pass), 1) * per_pass
            why = f"batch size {self.batch_size} x {self.gpus} GPU does not divide it"
            raise limits.error(
                self,
                "effective_batch",
                self.effective_batch,
                f"{why}; --effective-batch {near} would do, or give --iter-size",
            )
        return self.effective_batch // per_pass

    @property
    def test_batches(self) -> int:
        """Test batches that see every validation image: the solver's test_iter."""
        return self.test_iter or -(-self.val_images // self.val_batch_size)

    def with_options(self, **options: Any) -> Design:
        """This design with some fields changed, and checked again.

        Raises:
            DesignError: an unknown field, or values that make no net.
        """
        for option in options:
            if option not in FIELDS:
                raise DesignError(f"no design option '{option}'{did_you_mean(option, FIELDS)}")
        return replace(self, **options) if options else self


FIELDS: dict[str, Field[Any]] = {item.name: item for item in fields(Design)}


def round_half_up(value: float) -> int:
    """The nearest whole number of filters, halves up; 1e-9 forgives binary fractions."""
    return math.floor(value + 0.5 + 1e-9)
