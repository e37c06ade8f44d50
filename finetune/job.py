"""Fine-tune: from a folder of pictures and pretrained weights to a classifier, in one folder.

OUT/
    train_lmdb, val_lmdb    the pictures, split; labels.txt in each names the classes
    train_val.prototxt, deploy.prototxt, solver.prototxt
    mapped.caffemodel       the pretrained weights under the names of the net
    linear.caffemodel       with the classifier fitted, all else as before
    finetuned_best.caffemodel, finetuned_iter_*     the best weights, and snapshots
    train, test             run folders
    predictions.csv         of the validation images
    commands                the single commands that do the same
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..datasets.class_weights import balanced_weights, count_labels, infogain_matrix
from ..datasets.create import CreateResult
from ..datasets.encode_record import RecordEncoder
from ..datasets.image_index import ImageIndex, index_images
from ..datasets.split import TRAIN, VAL, Split, create_split, split_images
from ..engine.equivalence import load_engine, prove
from ..errors import DivergedError, OutputError, RunError
from ..formats.caffemodel import encode_caffemodel
from ..formats.files import write_files
from ..formats.lmdb_reader import LABELS_FILE
from ..generator.build import build, design_files
from ..generator.design import Design
from ..host import available_cores, list_gpus, visible_gpus
from ..logs.result import LogResult
from ..nets.definition import parse_net, read_net
from ..nets.inference_graph import inference_graph
from ..nets.shapes import infer_shapes
from ..progress import StartProgress, no_progress
from ..runner.freeze import freeze_layers, split_patterns
from ..runner.options import RunOptions
from ..runner.test import test
from ..runner.train import train
from ..text import printable
from ..weights.mapping import make_mapped_caffemodel
from . import commands
from .pretrained import KNOWN, PLAIN, Fitted, Pretrained, design_name, fit_design, read_pretrained
from .probe import Probe, fit_classifier
from .recipe import PATIENCE, Recipe, data_design, net_design, record_size

COMMANDS = "commands"
SHOWN_CLASSES = 8  # whose sizes are all said


@dataclass(frozen=True)
class FinetuneOptions:
    """What to fine-tune, and how.

    Attributes:
        pictures: a folder with a folder for each class, or the root of the names in `list_file`.
        weights: a caffemodel, or a compressed .net or .sqz.
        out: the folder to make.
        list_file: a line for each picture: its name and label.
        design: the net; None takes that of the weights.
        bypass: bypasses in place of the net's own, or None.
        val: share of each class that is validated.
        seed: of the split, and of the cross-validation.
        recipe: how the net is trained.
        freeze: patterns of layers that are left as they are.
        class_weights: let rare classes count as much as frequent ones.
        linear: fit the classifier only.
    """

    pictures: str
    weights: str
    out: str
    list_file: str | None = None
    design: Design | None = None
    bypass: str | None = None
    val: float = 0.2
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    freeze: tuple[str, ...] = ()
    class_weights: bool = False
    linear: bool = False


@dataclass(frozen=True)
class FinetuneResult:
    """What came of a fine-tuning.

    Attributes:
        weights: the file with the best weights.
        classes: names, or None of a list.
        linear: the fitted classifier.
        trained: the training; None with `linear`.
        tested: the test of the best weights on the validation images.
        predictions: the file with what the net says of each of them.
    """

    weights: Path
    classes: list[str] | None
    linear: Probe
    trained: LogResult | None
    tested: LogResult
    predictions: Path


class Finetuning:
    """A fine-tuning whose input passed all checks.

    Args:
        options: what to do.
        run_options: of the training and the test.
        progress: counts images.

    Attributes:
        index: the pictures.
        split: into training and validation.
        fitted: the net, and the weights that it starts from.

    Raises:
        SqgenError: `out` exists, there are too few pictures, or the weights don't fit.
    """

    def __init__(
        self,
        options: FinetuneOptions,
        run_options: RunOptions,
        progress: StartProgress = no_progress,
    ) -> None:
        self.options, self._run_options, self._progress = options, run_options, progress
        self.folder = Path(options.out)
        if self.folder.exists():
            raise OutputError(f"{printable(options.out)}: is there already; give -o a new folder")
        run = self._test_options if options.linear else run_options
        replace(run, log=None).select_engine()  # before what takes long
        self.index: ImageIndex = index_images(options.pictures, options.list_file)
        run_options.warn(*self.index.warnings)
        self.split: Split = split_images(
            self.index, options.val, options.seed, available_cores(), progress, "--val"
        )
        run_options.warn(*self.split.remarks)
        self._weights: Pretrained = read_pretrained(options.weights)
        self.fitted: Fitted = fit_design(self._weights, *self._designs())
        self._check_freeze()

    def _designs(self) -> tuple[list[Design], list[Design] | None]:
        """Return the designs that the weights may be of, and those that are asked for."""
        options, own = self.options, self._weights.design
        known = KNOWN if own is None else (own,)
        wanted = [options.design] if options.design is not None else []
        if options.bypass is not None:
            bases = wanted or (PLAIN if own is None else known)
            wanted = [base.with_options(bypass=options.bypass) for base in bases]
        if own is not None:
            wanted = [base.with_options(mean_values=own.means) for base in wanted]
        fitting, asked = (
            [net_design(each, self.class_count) for each in designs] for designs in (known, wanted)
        )
        return fitting, asked or None

    def _check_freeze(self) -> None:
        design = self.fitted.design
        net = parse_net(build(design), design_name(design))
        shapes = infer_shapes(net, "TRAIN", design.image)
        freeze_layers(net, shapes, split_patterns(self.options.freeze))

    @property
    def class_count(self) -> int:
        """Number of classes: those of the folders, or up to the largest label of the list."""
        if self.index.classes is not None:
            return len(self.index.classes)
        return 1 + max(label for _, label in self.index.images)

    @property
    def labels(self) -> Path | None:
        """The file with the names of the classes; None of a list."""
        return self.folder / TRAIN / LABELS_FILE if self.index.classes is not None else None

    @property
    def result_weights(self) -> Path:
        """The file that the result will be in."""
        name = commands.LINEAR if self.options.linear else commands.FINETUNED
        return self.folder / name

    def describe(self) -> Iterator[str]:
        """Yield lines on what will be done."""
        train_count, val_count = len(self.split.train.images), len(self.split.val.images)
        yield (
            f"{train_count + val_count} pictures in {self.class_count} classes: {train_count} to"
            f" train on, {val_count} to validate"
        )
        yield f"pictures of each class: {self._balance()}"
        mapping, design = self.fitted.mapping, self.fitted.design
        total = len(mapping.rows) + len(mapping.missing)
        yield (
            f"{printable(self.options.weights)}: {len(mapping.rows)} of the {total} layers of"
            f" {design_name(design)}; the classifier is new"
        )

    def _balance(self) -> str:
        """Return the number of pictures of each class, or of the smallest and the largest."""
        counts = Counter(label for _, label in self.index.images)
        classes = self.index.classes
        sizes = [
            f"{printable(classes[label]) if classes else f'class {label}'} {count}"
            for label, count in sorted(counts.items(), key=lambda each: -each[1])
        ]
        if len(sizes) > SHOWN_CLASSES:
            sizes = [f"{sizes[0]} at most", f"{sizes[-1]} at least"]
        return ", ".join(sizes)

    def commands(self, counts: Sequence[int] | None = None) -> Iterator[str]:
        """Yield the single commands that do the same.

        Args:
            counts: numbers of training and validation records; those of the pictures if None.
        """
        options, folder, mapping = self.options, self.folder, self.fitted.mapping
        counts = counts or (len(self.split.train.images), len(self.split.val.images))
        yield commands.data_command(
            options.pictures,
            options.list_file,
            folder,
            options.val,
            options.seed,
            record_size(self.fitted.design),
        )
        if options.class_weights:
            yield commands.class_weights_command(folder)
        yield commands.build_command(self._design(counts), folder)
        yield from commands.weight_commands(self._weights, folder, any(mapping.bypasses))
        yield commands.probe_command(folder, options.class_weights, options.seed)
        if not options.linear:
            yield commands.train_command(folder, options.freeze, PATIENCE)
        yield commands.test_command(folder, self.result_weights)

    def _design(self, counts: Sequence[int]) -> Design:
        sets = [self.folder / TRAIN, self.folder / VAL]
        run = self._run_options
        cpu = run.cpu or (run.gpu is None and not visible_gpus(list_gpus()))
        recipe = replace(self.options.recipe, cpu=cpu)
        infogain = self.folder / commands.CLASS_WEIGHTS if self.options.class_weights else None
        return data_design(self.fitted.design, recipe, self.folder, sets, counts, infogain)

    def run(self) -> FinetuneResult:
        """Do it.

        Raises:
            SqgenError: a picture, file or folder can't be read or written; nothing is left.
            RunError: the training or the test did not complete; `out` has what was done, and the
            message of a training that can go on has the commands that end it.
        """
        with _removed_on_error(self.folder):
            probe = self._prepare()
        trained = None if self.options.linear else self._train()
        predictions = self.folder / commands.PREDICTIONS
        tested = self._test(predictions)
        classes = self.index.classes
        return FinetuneResult(self.result_weights, classes, probe, trained, tested, predictions)

    def _prepare(self) -> Probe:
        """Make all files up to the fitted classifier."""
        options, run = self.options, self._run_options
        sets = self._create_sets()
        counts = [sets[name].records for name in (TRAIN, VAL)]
        files = design_files(self._design(counts))
        data = {self.folder / name: text.encode() for name, text in files.items()}
        if options.class_weights:
            labels = count_labels(str(self.folder / TRAIN))
            weights = balanced_weights(labels, self.class_count)
            data[self.folder / commands.CLASS_WEIGHTS] = infogain_matrix(weights)
        lines = "".join(f"{line}\n" for line in self.commands(counts))
        write_files({**data, self.folder / COMMANDS: lines.encode("utf-8", "surrogateescape")})
        self._write_mapped()
        net = read_net(self.folder / commands.TRAIN_VAL)
        probe = fit_classifier(
            net,
            str(self.folder / commands.MAPPED),
            balanced=options.class_weights,
            seed=options.seed,
        )
        probe.net.save(self.folder / commands.LINEAR)
        regression = probe.regression
        run.log_line(
            f"classifier fitted to {printable(probe.classifier.features)}: top1"
            f" {regression.accuracy:.4g} in cross-validation of {probe.images} images"
        )
        return probe

    def _create_sets(self) -> dict[str, CreateResult]:
        size = record_size(self.fitted.design)
        encoder = RecordEncoder((size, size), gray=self.fitted.design.channels == 1)
        return create_split(
            self.split,
            self.folder,
            encoder,
            available_cores(),
            report=self._run_options.log_problem,
            progress=self._progress,
        )

    def _write_mapped(self) -> None:
        """Write the weights under the names of the net, after a proof that it computes the same."""
        graphs = self._weights.graph, inference_graph(self.fitted.deploy)
        mapping = self.fitted.mapping
        prove(load_engine(), *graphs, mapping, self._weights.model)
        deploy = read_net(self.folder / commands.DEPLOY)
        path = self.folder / commands.MAPPED
        model = make_mapped_caffemodel(deploy, mapping)
        write_files({path: encode_caffemodel(model, str(path))})

    def _train(self) -> LogResult:
        try:
            return train(
                self.folder / commands.SOLVER,
                weights=self.folder / commands.LINEAR,
                keep_best=commands.KEEP_BEST,
                patience=PATIENCE,
                freeze=self.options.freeze,
                **vars(replace(self._run_options, run_dir=self.folder / commands.TRAIN_RUN)),
            )
        except RunError as error:
            if error.result.snapshots and not isinstance(error, DivergedError):
                test = commands.test_command(self.folder, self.result_weights)
                error.args = (f"{error}, and then {test}",)
            raise

    @property
    def _test_options(self) -> RunOptions:
        """Those of the embedded engine: a real caffe keeps no predictions."""
        return replace(self._run_options, engine="torch", caffe=None, arguments=())

    def _test(self, predictions: Path) -> LogResult:
        """Test the result."""
        return test(
            self.folder / commands.TRAIN_VAL,
            self.result_weights,
            predictions=predictions,
            **vars(replace(self._test_options, run_dir=self.folder / commands.TEST_RUN)),
        )


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Remove a folder that the block makes, unless it ends well."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
