"""The target `onnx`: a model in one file, compared with the engine in ONNX Runtime."""

from __future__ import annotations

from ..errors import NetError
from ..text import first_few, printable
from .onnx_export import OLDEST_OPSET, blob_values, encode_onnx, newest_opset, onnx_model
from .onnx_preprocessing import Preprocessing, preprocessing_of
from .onnx_proof import compare, missing_packages
from .trained_net import Exported, ExportOptions, TrainedNet

FILE = "model.onnx"


def write_onnx(trained: TrainedNet, options: ExportOptions) -> Exported:
    """Make the ONNX model of a net.

    Raises:
        NetError: ONNX can't express a layer, the opset is none, or ONNX Runtime differs.
    """
    opset = OLDEST_OPSET if options.opset is None else options.opset
    if not OLDEST_OPSET <= opset <= newest_opset():
        raise NetError(
            f"--opset {opset}: sqgen writes {OLDEST_OPSET} to {newest_opset()}, the newest of the"
            " installed onnx"
        )
    preprocessing = _preprocessing(trained, options)
    model = onnx_model(trained.net, trained.arrays, opset, _metadata(trained), preprocessing)
    data = encode_onnx(model)
    warnings = []
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        warnings.append("the batch is fixed: a layer's result depends on its size")
    missing = missing_packages()
    if options.prove and missing:
        warnings.append(f"not compared with the engine, which needs {' and '.join(missing)}")
    if not options.prove or missing:
        return Exported({FILE: data}, None, warnings, [])
    values = blob_values(model, trained.net)
    done = compare(model, trained.net, trained.arrays, values, preprocessing)
    if done.constant:
        warnings.append(
            f"{first_few(done.constant)}: the same for two random inputs, which proves little about"
            " the weights"
        )
    return Exported({FILE: data}, done, warnings, [])


def _preprocessing(trained: TrainedNet, options: ExportOptions) -> Preprocessing | None:
    if not options.with_preprocessing:
        return None
    inputs = [
        tuple(shape.dim)
        for layer in trained.net.param.layer
        if layer.type == "Input"
        for shape in layer.input_param.shape
    ]
    where = printable(trained.net.source)
    return preprocessing_of(trained.transform, inputs, options.as_bytes, where)


def _metadata(trained: TrainedNet) -> dict[str, str]:
    """Return what the file says beside the graph: a line per label, and the preprocessing."""
    metadata = {}
    if trained.transform is not None:
        metadata["preprocessing"] = "\n".join(trained.transform.lines())
    if trained.labels:
        metadata["labels"] = "\n".join(trained.labels)
    return metadata
