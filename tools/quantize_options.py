"""The options of `sqgen quantize`, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from .image_options import preprocessing_options
from .picture_file import PictureFile, dark_option
from .search_options import (
    METHODS,
    TRIALS,
    SearchOptions,
    add_options,
    image_option,
    net_options,
    search_options,
    seed_option,
)

DEFAULT = "knapsack"
QUANTIZERS = ENTROPY, _, UNIFORM = ("entropy-constrained", "k-means", "uniform")
MINIMUM_BITS, MAXIMUM_BITS = 2, 8  # of compress/bits_file.py
FORMATS = SQZ, RISTRETTO = ("sqz", "ristretto")
TRIMMING_MODES = (  # of quantization/ristretto.py
    *("dynamic_fixed_point", "minifloat"),
    "integer_power_of_2_weights",
)
RISTRETTO_BITS, MOST_RISTRETTO_BITS = 8, 32

quantize_options = add_options(
    net_options,
    click.option("--data", required=True, metavar="LMDB|DIR", help="images to score nets on"),
    click.option("--bytes", metavar="X", help="budget of the .sqz file: a share, or bytes"),
    click.option(
        "--bops", metavar="X", help="budget of bit operations: MACs times bits times bits, likewise"
    ),
    click.option("--ms", metavar="X", help="budget of time by --hardware, likewise"),
    click.option("--mj", metavar="X", help="budget of energy by --hardware, likewise"),
    click.option(
        "--hardware",
        metavar="NAME|FILE",
        help="bismo-edge, bismo-cloud, bitfusion, or a TOML file (docs/quantization.md)",
    ),
    click.option(
        "--quantizer",
        type=click.Choice(QUANTIZERS),
        help="of weights: entropy-constrained, as compress encode --size; k-means, as --bits;"
        " uniform, multiples of a step [entropy-constrained; uniform where activations have bits]",
    ),
    click.option("--activations", is_flag=True, help="choose bits of what layers read, too"),
    click.option(
        "--activation-bits",
        type=int,
        metavar="N",
        help="of what all layers read, 2 to 8 [float]; with ristretto 1 to 32 [8]",
    ),
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        default=SQZ,
        help="what is written: a .sqz file, or, without a budget, a net of Ristretto [sqz]",
    ),
    click.option("--bits", type=int, metavar="N", help="of weights, with ristretto, 1 to 32 [8]"),
    click.option("--bits-from", metavar="FILE", help="bits.toml: of single layers, with ristretto"),
    click.option(
        "--trimming-mode",
        type=click.Choice(TRIMMING_MODES),
        help=f"what numbers are of, with ristretto [{TRIMMING_MODES[0]}]",
    ),
    click.option(
        "--tune",
        metavar="SOLVER",
        help="train the net of each trial so, with its bits, before its score",
    ),
    click.option(
        "--tune-iterations",
        type=click.IntRange(min=1),
        metavar="N",
        help="updates of --tune [its max_iter]",
    ),
    search_options("bits", DEFAULT, {method: method for method in METHODS}),
    preprocessing_options,
    seed_option,
    image_option,
    click.option(
        "--plot", metavar="FILE", help="draw bits, and trials: a .png, .svg, .pdf or .html"
    ),
    dark_option,
    click.option("--force", is_flag=True, help="replace FILE, and files of DIR but trials.jsonl"),
    click.option("--json", "as_json", is_flag=True, help="print JSON (docs/quantization.md)"),
)

_OF_SQZ = (
    *("bytes", "bops", "ms", "mj", "hardware", "quantizer", "activations", "plot"),
    *("tune", "tune_iterations", "by", "trials", "score", "resume", "scores_from"),
)
_WITHOUT_EFFECT = {"minifloat": "activation_bits", "integer_power_of_2_weights": "bits"}


@dataclass(frozen=True)
class QuantizeOptions(SearchOptions):
    """The options as typed."""

    data: str
    bytes: str | None
    bops: str | None
    ms: str | None
    mj: str | None
    hardware: str | None
    quantizer: str | None
    activations: bool
    activation_bits: int | None
    format: str
    bits: int | None
    bits_from: str | None
    trimming_mode: str | None
    tune: str | None
    tune_iterations: int | None
    plot: str | None
    dark: bool

    @classmethod
    def of(cls, typed: Mapping[str, Any]) -> QuantizeOptions:
        """Return options as typed; without `--by`, a budget has the default method."""
        default = "" if typed["format"] == RISTRETTO else DEFAULT
        return cls(**{**typed, "by": typed["by"] or default})

    def check(self) -> None:
        """Refuse options that contradict each other, before anything is read.

        Raises:
            click.UsageError: some do, or one is malformed.
            DesignError: a budget is no share or amount.
        """
        self._check_format()
        super().check()
        if self.format == RISTRETTO:
            return
        if not self.parse_budgets():
            raise click.UsageError("no budget: give --bytes, --bops, --ms or --mj")
        if self.tune_iterations is not None and self.tune is None:
            raise click.UsageError("--tune-iterations: goes with --tune")
        by_hardware = self.ms is not None or self.mj is not None
        if by_hardware != (self.hardware is not None):
            raise click.UsageError(
                "--ms and --mj: give --hardware"
                if by_hardware
                else "--hardware: goes with --ms or --mj"
            )
        if self.activations and self.activation_bits is not None:
            raise click.UsageError("--activations and --activation-bits: give one")
        bits = self.activation_bits
        if bits is not None and not MINIMUM_BITS <= bits <= MAXIMUM_BITS:
            raise click.UsageError(
                f"--activation-bits {bits}: give {MINIMUM_BITS} to {MAXIMUM_BITS}"
            )
        if by_hardware and not self.quantizes_activations:
            raise click.UsageError("--ms and --mj: give --activations or --activation-bits")

    def _check_format(self) -> None:
        """Refuse what the format that is written has no use for, and widths that it lacks."""
        is_ristretto = self.format == RISTRETTO
        bits, trimming = ("--bits", self.bits), ("--trimming-mode", self.trimming_mode)
        bits_from = "--bits-from", self.bits_from
        others = {name: getattr(self, name) for name in _OF_SQZ}
        useless = [(f"--{name.replace('_', '-')}", each) for name, each in others.items()]
        for flag, value in useless if is_ristretto else (bits, bits_from, trimming):
            if value not in (None, "", ()) and value is not False:
                goes = SQZ if is_ristretto else RISTRETTO
                raise click.UsageError(f"{flag}: goes with --format {goes}")
        for flag, width in (bits, ("--activation-bits", self.activation_bits)):
            if is_ristretto and width is not None and not 1 <= width <= MOST_RISTRETTO_BITS:
                raise click.UsageError(f"{flag} {width}: give 1 to {MOST_RISTRETTO_BITS}")
        idle = _WITHOUT_EFFECT.get(self.ristretto_mode, "")
        if idle and getattr(self, idle) is not None:
            raise click.UsageError(
                f"--{idle.replace('_', '-')}: has no effect with --trimming-mode"
                f" {self.trimming_mode}"
            )

    @property
    def ristretto_widths(self) -> tuple[int, int]:
        """Bits of weights and of activations in a net of Ristretto, where --bits-from has none."""
        return self.bits or RISTRETTO_BITS, self.activation_bits or RISTRETTO_BITS

    @property
    def ristretto_words(self) -> list[str]:
        """The options of a net of Ristretto that have an effect."""
        words = ["--format", RISTRETTO, "--trimming-mode", self.ristretto_mode]
        widths = zip(("bits", "activation_bits"), self.ristretto_widths, strict=True)
        for name, bits in widths:
            if name != _WITHOUT_EFFECT.get(self.ristretto_mode):
                words += [f"--{name.replace('_', '-')}", str(bits)]
        return words if self.bits_from is None else [*words, "--bits-from", self.bits_from]

    @property
    def ristretto_mode(self) -> str:
        """One of `TRIMMING_MODES`."""
        return self.trimming_mode or TRIMMING_MODES[0]

    def parse_budgets(self) -> dict[str, float]:
        """Return the budgets, by flag: shares up to 1, or amounts.

        Raises:
            DesignError: one is neither.
        """
        from ..search.budget import parse_budget

        typed = {
            ("--bytes", "bytes"): self.bytes,
            ("--bops", "bit operations"): self.bops,
            ("--ms", "time"): self.ms,
            ("--mj", "energy"): self.mj,
        }
        return {
            flag: parse_budget(flag, f"{name} with 8 bits everywhere", text)
            for (flag, name), text in typed.items()
            if text is not None
        }

    @property
    def words(self) -> list[str]:
        """The command, without images and the folder."""
        words = ["sqgen", "quantize", self.weights, "--net", self.net_path]
        for flag, given in self.parse_budgets().items():
            words += [flag, f"{given:.15g}"]
        words += [] if self.hardware is None else ["--hardware", self.hardware]
        words += ["--quantizer", self.weights_quantizer]
        words += ["--activations"] if self.activations else []
        bits = self.activation_bits
        words += [] if bits is None else ["--activation-bits", str(bits)]
        words += [] if self.tune is None else ["--tune", self.tune]
        count = self.tune_iterations
        words += [] if count is None else ["--tune-iterations", str(count)]
        words += ["--by", self.by, "--seed", str(self.seed)]
        return [*words, "--trials", str(self.trials or TRIALS)] if self.is_search else words

    @property
    def picture(self) -> PictureFile | None:
        """The file of --plot, checked."""
        if self.plot is None:
            return None
        return PictureFile(self.plot, "--plot", self.force, self.dark)

    @property
    def quantizes_activations(self) -> bool:
        """Whether what layers read gets bits."""
        return self.activations or self.activation_bits is not None

    @property
    def weights_quantizer(self) -> str:
        """How weights are quantized."""
        return self.quantizer or (UNIFORM if self.quantizes_activations else ENTROPY)
