"""The fields of a design in one table: type, default, flag, group, help and choices.

Each field is an option of `sqgen build`, a key of a design file, and an argument of `Design`.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any

from ..nets.imagenet import IMAGENET_CLASSES, IMAGENET_VALIDATION
from ..nets.solver_rules import POLICIES, SOLVERS

VERSIONS = ("1.0", "1.1")
STEMS = ("1.0", "1.1", "small")
BACKENDS = ("lmdb", "leveldb", "imagedata")
CONCAT_ORDERS = ("1x1,3x3", "3x3,1x1")
FILLERS = ("xavier", "msra")
CLASSIFIER_FILLERS = ("gaussian", *FILLERS)
NAMINGS = ("squeezenet", "residual", "firenet", "generator")
STYLES = ("clean", "v1.0", "v1.1", "residual", "firenet", "generator")

# Filters of conv1 as published; `small` is sqgen's, for images of about 32x32.
STEM_FILTERS = {"1.0": 96, "1.1": 64, "small": 64}
STEM_WINDOWS = {"1.0": (7, 2, 0), "1.1": (3, 2, 0), "small": (3, 1, 1)}  # kernel, stride, pad
# Fire modules followed by a pooling; v1.1 is faster because it pools earlier.
POOL_AFTER = {"1.0": (4, 8), "1.1": (3, 5)}
SMALL_INPUT = 64

# Squeeze, expand1x1 and expand3x3 filters of a Fire module.
FireSizes = tuple[int, int, int]
# The metaparameters of section 5.1, which `fires` replaces.
REPLACED_BY_FIRES = ("fire_modules", "base_e", "incr_e", "freq", "pct3x3", "squeeze_ratio")


def _option(default: Any, group: str, flag: str, text: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"group": group, "flag": flag, "help": text, **metadata})


@dataclass(frozen=True, repr=False)
class DesignFields:
    """The fields of `Design`, which validates them and derives those that are None."""

    version: str = _option(
        "1.0", "net", "--version", "SqueezeNet version: stem, pooling positions", choices=VERSIONS
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
    fires: tuple[FireSizes, ...] | None = _option(
        None,
        "net",
        "--fires",
        "in place of these six: squeeze/expand1x1/expand3x3 filters of each Fire module,"
        " such as 16/64/64,16/64/60",
    )
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
        "a ReLU after the classifier, as published; it may kill small nets",
    )
    filler: str = _option(
        "xavier",
        "net",
        "--filler",
        "how all other convolutions start, as published; msra: with the deviation that keeps"
        " signals under ReLUs",
        choices=FILLERS,
    )
    classifier_filler: str = _option(
        "gaussian",
        "net",
        "--classifier-filler",
        "how the classifier starts; gaussian: deviation 0.01, as published",
        choices=CLASSIFIER_FILLERS,
    )
    infogain_file: str = _option(
        "",
        "net",
        "--infogain",
        "a matrix that weighs classes in the loss (sqgen data weights): InfogainLoss",
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
        "type of the datasets; imagedata: lists of files",
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
    gpus: int = _option(1, "solver", "--gpus", "number of GPUs, each with a batch of its own")
    iter_size: int | None = _option(
        None, "solver", "--iter-size", "passes per update; default: from --effective-batch"
    )
    val_images: int = _option(
        IMAGENET_VALIDATION, "solver", "--val-images", "images in the validation set"
    )
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
    gamma: float | None = _option(
        None, "solver", "--gamma", "factor of step, exp, inv, multistep and sigmoid"
    )
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
    snapshot_prefix: str = _option(
        "train", "solver", "--snapshot-prefix", "path prefix of snapshots"
    )
    random_seed: int = _option(42, "solver", "--random-seed", "seed; -1: another every time")
    cpu: bool = _option(False, "solver", "--cpu", "solver_mode: CPU in place of GPU")
    net_path: str = _option("train_val.prototxt", "solver", "--net-path", "the solver's net")

    def __post_init__(self) -> None:
        """Check the values; `Design` does."""


FIELDS: dict[str, Field[Any]] = {item.name: item for item in fields(DesignFields)}
