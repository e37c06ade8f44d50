"""`sqgen finetune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import DesignError
from ..extras import required
from ..generator.design import Design
from ..generator.presets import preset as preset_design
from ..report.table import table
from ..text import printable, shell_join
from .completion import complete_presets
from .design_options import read_design
from .run_options import print_run_line
from .terminal import print_json, print_lines, terminal_width

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation
    from ..finetune.job import FinetuneOptions, FinetuneResult, Finetuning
    from ..runner.options import RunOptions

FORMAT = 1


@click.command()
@click.argument("pictures", metavar="PICTURES")
@click.option("--weights", required=True, metavar="W", help=".caffemodel, .pth, .net, ...")
@click.option("-o", "--out", required=True, metavar="DIR", help="folder to make")
@click.option("--list", "list_file", metavar="FILE", help="a line per picture: its name and label")
@click.option(
    "--preset", metavar="NAME", help="a published net [W's]", shell_complete=complete_presets
)
@click.option("--design", "design_file", metavar="FILE", help="the net's design, from TOML")
@click.option("--bypass", metavar="WHERE", help="simple, complex, or modules: 3,5,7,9")
@click.option("--val", default=0.2, metavar="SHARE", help="share of each class to validate [0.2]")
@click.option("--seed", default=0, metavar="N", help="of the split [0]")
@click.option("--linear", is_flag=True, help="fit the classifier alone: seconds, not minutes")
@click.option("--epochs", type=float, metavar="N", help="passes over the pictures [10]")
@click.option("--base-lr", type=float, metavar="RATE", help="learning rate at the start [0.0001]")
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N", help="pictures an update [32]"
)
@click.option("--freeze", multiple=True, metavar="PATTERN", help="layers to keep: conv1,fire[23]/*")
@click.option("--class-weights", is_flag=True, help="let rare classes count as much as others")
@click.option("--no-mirror", is_flag=True, help="don't mirror pictures at random")
@click.option("--gpu", metavar="N", help="run on this GPU [any there is]")
@click.option("--cpu", is_flag=True, help="run on the CPU")
@click.option("--caffe", metavar="COMMAND", help="command line that runs a caffe")
@click.option("--dry-run", is_flag=True, help="check all, print what would run, and stop")
@click.option("--quiet", is_flag=True, help="hide progress and remarks, but no warning")
@click.option("--json", "as_json", is_flag=True, help="print JSON (docs/finetune.md)")
def finetune(dry_run: bool, as_json: bool, **arguments: Any) -> None:
    """Make a classifier of your pictures from pretrained weights.

    PICTURES has a folder for each class, or is the root of the names in --list. A share of
    each class is set aside to validate. The weights of any SqueezeNet are mapped to the
    net; its classifier is fitted to the features of the pictures, then all layers train
    at a low rate, and the weights of the best validation are kept. DIR/commands has the
    single commands that do the same.

    \b
    Examples:
      sqgen finetune pictures/ --weights squeezenet_v1.1.caffemodel -o flowers
      sqgen finetune pictures/ --weights compressed_SqueezeNet.net --linear -o out
    """
    with required("torch", "sqgen finetune"):
        from ..finetune.job import Finetuning
    from .progress_bar import item_progress

    options, run = _options(arguments)
    job = Finetuning(options, run, item_progress)
    for line in job.describe():
        run.log_line(line)
    if dry_run:
        print_lines(job.commands())
        return
    result = job.run()
    _report(job, result, run, as_json)


def _options(arguments: dict[str, Any]) -> tuple[FinetuneOptions, RunOptions]:
    """Return the options of the command."""
    from ..finetune.job import FinetuneOptions
    from ..finetune.recipe import Recipe
    from ..progress import no_bar
    from ..runner.options import RunOptions
    from .progress_bar import ProgressBar

    def take(*names: str) -> dict[str, Any]:
        return {name: arguments.pop(name) for name in names}

    quiet = arguments.pop("quiet")
    run = RunOptions(
        **take("gpu", "cpu", "caffe"),
        log=print_run_line,
        quiet=quiet,
        progress=no_bar if quiet else ProgressBar,
    )
    chosen = take("epochs", "base_lr", "batch_size")
    chosen = {name: value for name, value in chosen.items() if value is not None}
    recipe = Recipe(mirror=not arguments.pop("no_mirror"), **chosen)
    design = _read_design(**take("preset", "design_file"))
    return FinetuneOptions(**arguments, design=design, recipe=recipe), run


def _read_design(preset: str | None, design_file: str | None) -> Design | None:
    """Return the design that is asked for; None if none is."""
    if preset is not None and design_file is not None:
        raise DesignError("--preset and --design: give one")
    if preset is not None:
        return preset_design(preset)
    return None if design_file is None else read_design(design_file)


def _report(job: Finetuning, result: FinetuneResult, run: RunOptions, as_json: bool) -> None:
    """Print the result, and what to type next."""
    from ..evaluation.evaluate import evaluate_predictions
    from ..formats.predictions import read_predictions

    evaluation = evaluate_predictions(read_predictions(result.predictions))
    if as_json:
        print_json(_as_dict(job, result, evaluation))
    else:
        print_lines(_lines(result, evaluation))
    run.log_line(f"the weights are {printable(str(result.weights))}; classify with them:")
    words = ["sqgen", "classify", "--model", str(job.folder / "deploy.prototxt")]
    words += ["--weights", str(result.weights)]
    words += ["--labels", str(job.labels)] if job.labels is not None else []
    run.log_line(f"{printable(shell_join(words), 600)} PICTURE")


def _lines(result: FinetuneResult, evaluation: Evaluation) -> list[str]:
    top1 = evaluation.accuracies[0]
    name = _class_name(result, result.majority)
    rows = [
        [
            _class_name(result, each.class_index),
            str(each.images),
            str(each.right),
            f"{each.recall:.3f}" if each.images else "",
            "" if each.confusion is None else _class_name(result, each.confusion.predicted),
        ]
        for each in evaluation.classes
    ]
    heads = ["class", "images", "right", "recall", "most often taken for"]
    return [
        f"top1 {top1.value:.4f} on {evaluation.images} validation pictures, standard error"
        f" {top1.standard_error:.4f}",
        f"     {_majority_accuracy(result, evaluation):.4f} by always saying {name}",
        "",
        *table(heads, rows, right=(1, 2, 3), width=terminal_width()),
    ]


def _majority_accuracy(result: FinetuneResult, evaluation: Evaluation) -> float:
    """Return the accuracy of always predicting the most frequent class of training."""
    images = sum(c.images for c in evaluation.classes if c.class_index == result.majority)
    return images / evaluation.images


def _class_name(result: FinetuneResult, number: int) -> str:
    return printable(result.classes[number]) if result.classes else f"class {number}"


def _as_dict(job: Finetuning, result: FinetuneResult, evaluation: Evaluation) -> dict[str, Any]:
    top1 = evaluation.accuracies[0]
    per_class = [
        {
            "class": each.class_index,
            "name": result.classes[each.class_index] if result.classes else None,
            "images": each.images,
            "right": each.right,
        }
        for each in evaluation.classes
    ]
    return {
        "format": FORMAT,
        "folder": str(job.folder),
        "weights": str(result.weights),
        "images": {"train": result.linear.images, "val": evaluation.images},
        "cross_validation": result.linear.regression.accuracy,
        "best_iteration": result.trained.run["best"]["iteration"] if result.trained else None,
        "top1": top1.value,
        "standard_error": top1.standard_error,
        "loss": evaluation.loss,
        "majority": {
            "class": result.majority,
            "top1": _majority_accuracy(result, evaluation),
        },
        "classes": per_class,
        "predictions": str(result.predictions),
        "commands": (job.folder / "commands").read_text().splitlines(),
    }
