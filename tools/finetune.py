"""`sqgen finetune`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ..errors import DesignError
from ..extras import required
from ..generator.design import Design
from ..generator.presets import preset as preset_design
from ..text import printable, shell_join
from .completion import complete_presets
from .design_options import read_design
from .run_options import print_run_line
from .terminal import print_json, print_lines, terminal_width

if TYPE_CHECKING:
    from ..finetune.job import FinetuneOptions, FinetuneResult, Finetuning
    from ..runner.options import RunOptions

FORMAT = 1
OF_TRAINING = ("epochs", "base_lr", "batch_size", "freeze", "no_mirror", "caffe")


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

    _check_linear(arguments)
    options, run = _options(arguments)
    job = Finetuning(options, run, item_progress)
    for line in job.describe():
        run.log_line(line)
    if dry_run:
        commands = list(job.commands())
        if as_json:
            print_json({"format": FORMAT, "commands": commands})
        else:
            print_lines(commands)
        return
    result = job.run()
    _report(job, result, run, as_json)


def _check_linear(arguments: dict[str, Any]) -> None:
    """Refuse options of the training that --linear leaves out."""
    given = [name for name in OF_TRAINING if arguments[name] not in (None, False, ())]
    if arguments["linear"] and given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise click.UsageError(f"--linear trains no layer but the classifier; leave out {options}")


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
    from ..report.errors_text import COUNT, class_table, evaluation_json, format_scores

    predictions = read_predictions(result.predictions)
    evaluation = evaluate_predictions(predictions)
    if as_json:
        shown = evaluation_json(predictions, evaluation, result.classes, COUNT)
        print_json({"format": FORMAT, **_as_dict(job, result), **shown})
    else:
        names, width = result.classes, terminal_width()
        print_lines(
            [*format_scores(evaluation, names, width), "", *class_table(evaluation, names, width)]
        )
    for words in _next_commands(job, result):
        run.log_line(f"next: {printable(shell_join(words), 600)}")


def _next_commands(job: Finetuning, result: FinetuneResult) -> Iterator[list[str]]:
    """Yield what shows where the net errs, classifies, and hands it on."""
    labels = ["--labels", str(job.labels)] if job.labels is not None else []
    model, weights = str(job.folder / "deploy.prototxt"), ["--weights", str(result.weights)]
    yield ["sqgen", "errors", str(result.predictions), *labels]
    yield ["sqgen", "classify", "--model", model, *weights, *labels, "PICTURE"]
    out = str(job.folder / "export")
    yield ["sqgen", "export", model, *weights, *labels, "--for", "opencv", "-o", out]


def _as_dict(job: Finetuning, result: FinetuneResult) -> dict[str, Any]:
    best = result.trained.run["best"] if result.trained is not None else None
    return {
        "folder": str(job.folder),
        "weights": str(result.weights),
        "predictions": str(result.predictions),
        "train_images": result.linear.images,
        "cross_validation": result.linear.regression.accuracy,
        "best_iteration": best["iteration"] if best else None,
        "commands": (job.folder / "commands").read_text().splitlines(),
    }
