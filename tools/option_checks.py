"""Check the options of a command together, as it does itself before it reads nets and data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..compress.encoding import Settings
    from ..runner.options import RunOptions
    from ..runner.training_plan import TrainOptions
    from ..studies.compress_training import CompressionPlan

Parsed = Mapping[str, Any]  # name of an option -> its value, as click parsed it
Options = TypeVar("Options")


def check_options(command: str, parsed: Parsed) -> None:
    """Check the options of a command that a study may run, but `build`.

    Raises:
        click.UsageError: some don't go together.
        SqgenError: a value is out of range, or malformed.
    """
    _CHECKS[command](parsed)


def run_options_of(parsed: Parsed) -> RunOptions:
    """Return the options of a run of an engine.

    Raises:
        SqgenError: as `RunOptions` and its `check_devices`.
    """
    from ..runner.options import RunOptions

    options = _made(RunOptions, parsed)
    options.check_devices()
    return options


def _made(kind: Callable[..., Options], parsed: Parsed) -> Options:
    """Return a dataclass of the options that are its fields."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in parsed.items() if name in names})


def train_options_of(parsed: Parsed) -> TrainOptions:
    """Return the options of a training; raises as `TrainOptions`."""
    from ..runner.training_plan import TrainOptions

    return _made(TrainOptions, parsed)


def compression_plan_of(parsed: Parsed) -> CompressionPlan:
    """Return what `compress train` does to weights; raises as `CompressionPlan`."""
    from ..studies.compress_training import CompressionPlan
    from .compress import parse_settings

    settings = parse_settings(parsed["out"], parsed["bits"], (), None, None, parsed["density"])
    return CompressionPlan(settings.density, parsed["steps"], settings.bits)


def encode_settings_of(parsed: Parsed) -> Settings:
    """Return the settings of `compress encode`; raises as `parse_settings`."""
    from .compress import parse_settings

    names = ("out", "bits", "bits_for", "bits_from", "size", "density")
    return parse_settings(*(parsed[name] for name in names))


def _check_train(parsed: Parsed) -> None:
    run_options_of(parsed)
    wanted = train_options_of(parsed)
    wanted.bits_options.read()
    if wanted.dsd_options is not None:
        wanted.check_phased("--dsd")


def _check_test(parsed: Parsed) -> None:
    from ..runner.bits_options import BitsOptions
    from .class_names import read_labels
    from .gate_options import parse_gate

    run_options_of(parsed)
    if parsed["labels"] is not None:
        read_labels(parsed["labels"])
    parse_gate(parsed).validate()
    BitsOptions(parsed["quantize"], parsed["bits"], parsed["activation_bits"]).read()


def _check_time(parsed: Parsed) -> None:
    from .time import require_net

    require_net(parsed["model"], parsed["image"])
    run_options_of(parsed).require_one_process("time")


def _check_prune(parsed: Parsed) -> None:
    from .prune_options import PruneOptions

    options = PruneOptions.of(parsed)
    _without_labels(options).check()
    _ = options.selection  # reads the ratios


def _check_quantize(parsed: Parsed) -> None:
    from ..quantization.hardware_file import read_hardware
    from .quantize_options import QuantizeOptions

    options = QuantizeOptions.of(parsed)
    _without_labels(options).check()
    if options.hardware is not None:
        read_hardware(options.hardware)


def _without_labels(options: Any) -> Any:
    """Leave out the score that needs labels, since the data may not be there yet."""
    from .search_options import TOP1

    return replace(options, score=None) if options.score == TOP1 and options.is_search else options


def _check_compress_train(parsed: Parsed) -> None:
    run_options_of(parsed)
    train_options_of(parsed)
    compression_plan_of(parsed)


def _check_encode(parsed: Parsed) -> None:
    encode_settings_of(parsed)


def _check_digits(parsed: Parsed) -> None:
    from ..datasets.digits import DigitsSplit

    DigitsSplit(parsed["train"], parsed["noisy_labels"], parsed["seed"])


_CHECKS: dict[str, Callable[[Parsed], None]] = {
    "train": _check_train,
    "test": _check_test,
    "time": _check_time,
    "prune": _check_prune,
    "quantize": _check_quantize,
    "compress train": _check_compress_train,
    "compress encode": _check_encode,
    "data digits": _check_digits,
}
