"""The design of a net to fine-tune, and of its solver, from the data.

The classifier is fitted first (`probe.py`), so that the layers below start from errors that mean
something: from a random classifier, they lose what they have learned (Kumar et al. 2022,
"Fine-tuning can distort pretrained features", arXiv:2202.10054). Then all layers train at a rate
400 times below that of training from scratch, which falls linearly to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..generator.design import Design
from ..nets.imagenet import IMAGENET_CLASSES
from ..runner.exact_epoch import plan_exact_epoch
from ..runner.overrides import SolverOverride

BASE_LR = 1e-4
EPOCHS = 10
PATIENCE = 4  # epochs without a better score
BATCH_SIZE, VAL_BATCH_SIZE = 32, 25
DISPLAYS = 4  # lines of the log in an epoch
CROPPED = (224, 227)  # sizes of nets whose images are 256x256, of which they see a part
RECORD_SIZE = 256


@dataclass(frozen=True)
class Recipe:
    """How a net is trained.

    Attributes:
        epochs: passes over the training images.
        base_lr: the rate at the start.
        batch_size: images in an update; fewer where there are fewer.
        mirror: whether half of the training images are mirrored.
        cpu: solver_mode CPU.

    Raises:
        SqgenError: no number of epochs, or no rate.
    """

    epochs: float = EPOCHS
    base_lr: float = BASE_LR
    batch_size: int = BATCH_SIZE
    mirror: bool = True
    cpu: bool = False

    def __post_init__(self) -> None:
        SolverOverride(base_lr=self.base_lr, epochs=self.epochs)  # checks both


def net_design(base: Design, classes: int) -> Design:
    """Return a design with a classifier for other classes.

    It has no ReLU behind the classifier, which may die at once and makes its scores no linear
    function of features, and no padding.
    """
    return base.with_options(
        classes=classes,
        classifier_relu=False,
        conv10_pad=0,
        classifier_lr=1.0,
        crop=base.crop and base.size in CROPPED,
        # Of another name than that of the weights, whose shape may be another.
        classifier="conv10_new" if classes == IMAGENET_CLASSES else None,
    )


def record_size(design: Design) -> int:
    """Return the height and width of the records for a design."""
    return RECORD_SIZE if design.crop else design.size


def data_design(
    design: Design,
    recipe: Recipe,
    folder: Path,
    sets: Sequence[Path],
    counts: Sequence[int],
    infogain: Path | None = None,
) -> Design:
    """Return a design with its data and solver.

    Args:
        design: of the net.
        recipe: how it is trained.
        folder: where its files are.
        sets: LMDBs of the training and of the validation images.
        counts: their numbers of records.
        infogain: a matrix that weighs the classes, or None.
    """
    batch = min(recipe.batch_size, counts[0])
    epoch = -(-counts[0] // batch)  # updates
    updates = max(1, round(recipe.epochs * epoch))
    test = plan_exact_epoch(counts[1], VAL_BATCH_SIZE, engine_stops=False)
    return design.with_options(
        train_source=str(sets[0]),
        val_source=str(sets[1]),
        backend="lmdb",
        infogain_file="" if infogain is None else str(infogain),
        mirror=recipe.mirror and design.mirror,
        batch_size=batch,
        iter_size=1,
        gpus=1,
        val_batch_size=test.batch_size,
        val_images=counts[1],
        test_iter=test.iterations,
        test_interval=min(epoch, updates),
        test_initialization=True,
        solver_type="SGD",
        base_lr=recipe.base_lr,
        lr_policy="poly",
        power=1.0,
        max_iter=updates,
        display=max(1, epoch // DISPLAYS),
        average_loss=epoch,
        snapshot=min(epoch, updates),
        snapshot_prefix=str(folder / "finetuned"),
        net_path=str(folder / "train_val.prototxt"),
        cpu=recipe.cpu,
    )
