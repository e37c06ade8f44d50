"""`sqgen quantize --format ristretto`: a net whose layers are Ristretto's, with the bits given."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DesignError
from ..formats import prototxt
from ..formats.files import check_file_target, write_files
from ..json_form import dumps
from ..report.table import table
from ..text import printable, shell_join
from ..version import __version__
from .agreements import print_agreements
from .input_files import read_net
from .quantize_options import RISTRETTO, QuantizeOptions
from .search_inputs import (
    SeenImages,
    all_seen,
    find_image_size,
    identify_images,
    read_images,
    read_net_weights,
)
from .terminal import echo, print_json, print_table, terminal_width

if TYPE_CHECKING:
    from ..compress.bits_file import BitsFile
    from ..engine.agreement import Agreement
    from ..engine.input_images import InputImages
    from ..formats.schema import NetParameter
    from ..nets.definition import NetDefinition
    from ..nets.layer_types import Shape
    from ..quantization.ristretto import Widths

NET, RECORD = FILES = ("ristretto.prototxt", "quantize.json")
FORMAT = 1
_WHOLE, _QUANTIZED = "whole", RISTRETTO


@dataclass(frozen=True)
class RistrettoResult:
    """A net of Ristretto, and what was found about it.

    Attributes:
        net: the net.
        mode: one of `quantization.ristretto.TRIMMING_MODES`.
        images: that ranges were measured on.
        seen: digests of all images that net and weights depend on.
        agreements: which net -> how far it agrees with the whole one.
    """

    net: NetParameter
    mode: str
    images: SeenImages
    seen: list[str]
    agreements: dict[str, Agreement]

    def layers(self) -> list[dict[str, Any]]:
        """Return name and type of each quantized layer, and the fields that say how."""
        return [
            {
                "layer": layer.name,
                "type": layer.type,
                **{
                    field.name: value
                    for field, value in layer.quantization_param.ListFields()
                    if field.name != "precision"
                },
            }
            for layer in self.net.layer
            if layer.HasField("quantization_param")
        ]

    def print(self) -> None:
        """Print it as tables, with the bits that differ between layers."""
        layers = self.layers()
        heads = [
            head
            for head in layers[0]
            if not head.startswith("bw_") or len({layer[head] for layer in layers}) > 1
        ]
        heads.remove("type")
        rows = [[str(layer[head]) for head in heads] for layer in layers]
        numbers = tuple(range(1, len(heads)))
        shown = [head.replace("_layer_", "_") for head in heads]  # so that it fits 80 columns
        print_table(table(shown, rows, right=numbers, width=terminal_width()))
        print_agreements(self.agreements)
        source, number, _ = self.images
        echo(f"ranges are those of {number:,} images of {printable(source)}")

    def as_dict(self, out: str) -> dict[str, Any]:
        """Return it as plain data, with the folder of its files."""
        return {
            "format": FORMAT,
            "path": out,
            "files": list(FILES),
            "trimming_mode": self.mode,
            "layers": self.layers(),
            "images": self.images._asdict(),
            "seen": self.seen,
            "agreements": {name: each._asdict() for name, each in self.agreements.items()},
        }


def quantize_to_ristretto(options: QuantizeOptions) -> None:
    """Quantize by the ranges of weights and activations; write the net, and what was found.

    Raises:
        SqgenError: the net can't be quantized, or a file not be written.
    """
    for name in FILES:
        check_file_target(Path(options.out) / name, options.force)
    net = read_net(options.net_path)
    bits = bits_by_layer(net, options)
    shape = options.shape or find_image_size(net, options.data)
    model = read_net_weights(options.weights, net, shape)
    images = read_images(options.data, options.net_path, net, shape, options.preprocessing)
    seen = identify_images(options.data, images)
    made, agreements = _quantize(net, shape, model, images, bits, options)
    result = RistrettoResult(made, options.ristretto_mode, seen, all_seen(model, seen), agreements)
    _write(result, net, options)


def _quantize(
    net: NetDefinition,
    image: Shape | None,
    model: NetParameter,
    images: InputImages,
    bits: BitsFile,
    options: QuantizeOptions,
) -> tuple[NetParameter, dict[str, Agreement]]:
    """Return the net of Ristretto, and how far it agrees with the whole one."""
    from ..engine.agreement import check_finite, compare, probabilities
    from ..nets.deploy import deploy_net
    from ..nets.shapes import require_shapes
    from ..quantization.ristretto import measure_ranges, to_ristretto
    from ..weights.make_caffemodel import make_caffemodel
    from ..weights.net_arrays import net_arrays

    deploy = deploy_net(net, image=image).definition
    arrays = net_arrays(require_shapes(deploy, "TEST"), [(options.weights, model)])
    stored = make_caffemodel(deploy, arrays)
    ranges = measure_ranges(deploy, stored, images.batches)
    widths = _widths(bits, ranges, options)

    def quantized(definition: NetDefinition) -> NetParameter:
        return to_ristretto(definition, ranges, widths, options.ristretto_mode)

    small = replace(deploy, param=quantized(deploy))
    whole, found = (probabilities(each, stored, images) for each in (deploy, small))
    check_finite(whole, net.source)
    return quantized(net), {
        _WHOLE: compare(whole, whole, images.labels),
        _QUANTIZED: compare(whole, found, images.labels),
    }


def bits_by_layer(net: NetDefinition, options: QuantizeOptions) -> BitsFile:
    """Return the bits of --bits-from; none without it.

    Raises:
        SqgenError: the file can't be read, has a rule of no layer, or bits of shared values.
    """
    from ..compress.bits_file import ENTROPY, BitsFile, read_bits_file

    if options.bits_from is None:
        return BitsFile()
    file = read_bits_file(options.bits_from)
    if file.entropy:
        raise DesignError(
            f"{printable(options.bits_from)}: [{ENTROPY}] has bits of weights that share values; a"
            " net of Ristretto takes those of --quantizer uniform"
        )
    file.check_layers(net.param.layer)
    return file


def _widths(bits: BitsFile, layers: Collection[str], options: QuantizeOptions) -> dict[str, Widths]:
    from ..quantization.ristretto import Widths

    of_weights, of_activations = options.ristretto_widths
    weights, read = bits.weight_bits(layers), bits.activation_bits(layers)
    return {
        name: Widths(weights.get(name, of_weights), read.get(name, of_activations))
        for name in layers
    }


def _write(result: RistrettoResult, net: NetDefinition, options: QuantizeOptions) -> None:
    """Write the files, and say what they are."""
    from ..nets.image_transform import read_comment

    words = ["sqgen", "quantize", options.weights, "--net", options.net_path, "--data"]
    words += [options.data, *options.ristretto_words]
    transform = read_comment(net)
    comment = "" if transform is None else transform.comment()
    words += ["--out", options.out]
    header = f"# {shell_join(words)} ...\n# sqgen {__version__}\n{comment}"
    record = result.as_dict(options.out)
    files = {
        NET: f"{header}{prototxt.to_text(result.net)}".encode(),
        RECORD: dumps(record).encode(),
    }
    write_files({Path(options.out) / name: data for name, data in files.items()}, options.force)
    if options.as_json:
        print_json(record)
    else:
        result.print()
        click.echo(f"wrote {', '.join(files)} in {printable(options.out)}", err=True)
