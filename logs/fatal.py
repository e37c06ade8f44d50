"""Caffe's fatal errors: the cause and the remedy of each."""

from __future__ import annotations

import re

from .result import Fatal

_MAX_MESSAGE = 2000  # characters to search for a cause: some patterns take quadratic time
# (pattern of the message, cause, remedy); the first match counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"Cannot use GPU in CPU-only Caffe",
        "this Caffe was built without GPU support",
        "set solver_mode: CPU and leave --gpu out, or use a Caffe built with CUDA",
    ),
    (
        r"mdb_status == 0 \(2 vs\. 0\) No such file",
        "the LMDB of a Data layer is not there",
        "check the layer's source; it is relative to the folder that caffe was started in",
    ),
    (
        r"mdb_status == 0 \(\d+ vs\. 0\)|mdb_status == 0",
        "the LMDB of a Data layer can't be opened",
        "check that the source is an LMDB folder, readable, and not in use by a writer",
    ),
    (
        r"Failed to open leveldb",
        "the LEVELDB of a Data layer can't be opened",
        "check the source, and that backend is what the set was made with",
    ),
    (
        r"ReadProtoFromBinaryFile.* Failed to parse NetParameter file: (?P<what>\S+)",
        "{what} is no caffemodel, or is cut off",
        "check that its download was whole, and that --weights is not a prototxt",
    ),
    (
        r"Incorrect length of history blobs",
        "the snapshot is not a solver state of this net and solver type, or is cut off",
        "give --snapshot the .solverstate; a .caffemodel belongs to --weights",
    ),
    (
        r"File not found: (?P<what>\S+\.(?:solverstate|caffemodel)\S*)",
        "{what} is not there",
        "check the name of the snapshot; it is relative to the folder caffe was started in",
    ),
    (
        r"Failed to parse (Net|Solver)Parameter file: (?P<what>\S+)",
        "{what} is not a prototxt that this Caffe reads",
        "see the libprotobuf line above the error, or run sqgen lint on the file",
    ),
    (
        r"fd != -1 .*File not found: (?P<what>\S+)",
        "{what} is not there",
        "check the path; it is relative to the folder that caffe was started in",
    ),
    (
        r"Couldn't open (?P<what>\S+)",
        "the weights {what} can't be opened",
        "check the path given with --weights or --snapshot",
    ),
    (
        r"Cannot copy param \d+ weights from layer '(?P<what>[^']+)'; shape mismatch",
        "layer {what} has another shape in the weights than in the net",
        "use the net that the weights were trained with, or rename the layer to learn it anew",
    ),
    (
        r"Incompatible number of blobs for layer (?P<what>\S+)",
        "layer {what} has another number of blobs in the weights than in the net",
        "check bias_term, or rename the layer to learn it anew",
    ),
    (
        r"param_\.gamma\(\) >= 0",
        "the solver's gamma is negative",
        "give gamma a value from 0 to 1",
    ),
    (
        r"Unknown learning rate policy:\s*$",
        "the solver has no learning rate policy",
        "set lr_policy to fixed, step, exp, inv, multistep, poly or sigmoid",
    ),
    (
        r"stepsize\(\) > 0",
        "the learning rate policy needs a stepsize",
        "set stepsize in the solver",
    ),
    (
        r"test_interval\(\) > 0",
        "the solver has test_iter but no test_interval",
        "set test_interval: the iterations between tests",
    ),
    (
        r"num_train_nets >= 1",
        "the solver names no net to train",
        "set net in the solver",
    ),
    (
        r"num_train_nets <= 1",
        "the solver names several nets to train",
        "keep one of net, net_param, train_net, train_net_param",
    ),
    (
        r"Invalid signal effect",
        "--sigint_effect or --sighup_effect is none of its values",
        "use stop, snapshot or none",
    ),
    (
        r"illegal value '(?P<what>[^']*)'",
        "a flag has the value {what}, which it does not take",
        "caffe --help lists the flags",
    ),
    (
        r"flag '--?(?P<what>[^']*)' is missing its argument",
        "the flag --{what} has no value",
        "give it one",
    ),
    (
        r"unknown command line flag '(?P<what>[^']*)'",
        "caffe has no flag --{what}",
        "check the spelling; caffe --help lists them",
    ),
    (
        r"Unknown learning rate policy: (?P<what>\S+)",
        "there is no learning rate policy {what}",
        "use fixed, step, exp, inv, multistep, poly or sigmoid",
    ),
    (
        r"out of memory|CUDA_?ERROR_?MEMORY|error == cudaSuccess \(2 vs",
        "the GPU's memory is full",
        "lower batch_size, and raise iter_size by the same factor",
    ),
    (
        r"error == cudaSuccess|CUDNN_STATUS|CUBLAS_STATUS",
        "the GPU or its driver failed",
        "check nvidia-smi, and that Caffe was built for this GPU, CUDA and cuDNN",
    ),
    (
        r"Unknown solver type: (?P<what>\S+)",
        "there is no solver type {what}",
        "use SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam",
    ),
    (
        r"Unknown layer type: (?P<what>\S+)",
        "this Caffe has no {what}",
        "use a Caffe (or a fork of it) that has it; sqgen lint names what is not BVLC's",
    ),
    (
        r"Unknown bottom blob '(?P<what>[^']+)'",
        "no layer makes the blob {what}",
        "check the spelling and the order of layers: sqgen lint shows both",
    ),
    (
        r"Top blob '(?P<what>[^']+)' produced by multiple",
        "two layers make the blob {what}",
        "rename one of the tops",
    ),
    (
        r"top_k must be less than or equal to the number of classes",
        "an Accuracy layer's top_k is above the number of classes",
        "lower top_k or drop the layer",
    ),
    (
        r"Number of labels must match number of predictions",
        "there is not one label for each prediction",
        "check that the scores end 1x1 (pooling) and that labels are one an image",
    ),
    (
        r"bottom\[0\]->shape|bottom\[i\]->shape|bottom\[0\]->count\(\)",
        "the bottoms of a layer don't fit in shape",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"Cannot write to snapshot prefix",
        "snapshots can't be written",
        "make the folder of snapshot_prefix, and see that it is writable",
    ),
    (
        r"proto\.SerializeToOstream|WriteProtoToBinaryFile",
        "a file could not be written",
        "check the room on the disk",
    ),
    (
        r"Multi-GPU execution not available",
        "this Caffe was built without NCCL",
        "give one GPU, or use a Caffe built with USE_NCCL",
    ),
    (
        r"mean_values?_.*size\(\)|Specify either 1 mean_value",
        "there are not as many mean values as channels",
        "give one mean_value, or one a channel",
    ),
    (
        r"Unknown filler name: (?P<what>\S+)",
        "there is no filler {what}",
        "use constant, gaussian, positive_unitball, uniform, xavier, msra or bilinear",
    ),
    (
        r"Momentum cannot be used with (?P<what>\w+)",
        "{what} takes no momentum",
        "leave momentum out of the solver, or use another type",
    ),
    (
        r"Give a snapshot to resume training or weights to finetune",
        "--snapshot and --weights are both given",
        "give --snapshot to go on with a run, --weights to start one from trained weights",
    ),
    (
        r"Unknown action: (?P<what>\S+)",
        "caffe has no action {what}",
        "use train, test, time or device_query",
    ),
    (
        r"kernel_size|Filter dimensions|kernel_h_ > 0|num_output_? > 0",
        "a convolution or a pooling has no kernel, or no output",
        "run sqgen lint on the net: it names the layer and the field",
    ),
    (
        r"multiples of group|channels_ % group_",
        "a convolution's group does not divide its input and output channels",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"takes (?:at least |at most )?\d+ (?:bottom|top) blob",
        "a layer has more or fewer bottoms or tops than its type takes",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"shape\[i\] >= 0",
        "a blob shrinks to less than nothing: a kernel is larger than its input",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"^Check failed: data_\s*$",
        "a blob has no elements: a batch_size or a shape is missing",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"Inputs must have the same dimension",
        "the two bottoms of a loss differ in shape",
        "run sqgen lint on the net: it names the layer",
    ),
    (
        r"File is empty",
        "the list of images of an ImageData layer is empty or not there",
        "check the layer's source: a line an image, its file and its label",
    ),
    (
        r"does not transform data",
        "an HDF5Data layer has a transform_param, which it can't apply",
        "transform the data before it is stored, and take transform_param out",
    ),
    (
        r"blob size exceeds INT_MAX",
        "a blob has more elements than Caffe can count (2^31 - 1)",
        "lower the batch size, or crop",
    ),
    (
        r"Could not (?:open or find|load) (?:file )?(?P<what>\S+)",
        "the image {what} can't be read",
        "check the list of files and its root_folder",
    ),
    (
        r"height <= datum_height|crop_size.*datum|datum_(?:height|width)",
        "an image is smaller than crop_size, or of other channels than the net takes",
        "make the set again with larger images, or lower crop_size",
    ),
    (
        r"Need a (?:model|solver) definition|Need model weights",
        "a flag is missing",
        "give --model, --weights or --solver",
    ),
)


# Of sqgen-caffe: what a rank says that only knows that another ended.
_SYMPTOM = re.compile(r"(?:rank \d+: )?(?:lost the other ranks|another rank ended)")


def is_symptom(message: str) -> bool:
    """Whether a fatal message is of a rank that lost another, whose own message has the cause."""
    return _SYMPTOM.match(message) is not None


def explain_fatal(message: str, place: str, context: str = "") -> Fatal:
    """Return cause and remedy of a fatal message; `context` is libprotobuf's line, if any."""
    for pattern, cause, remedy in _CAUSES:
        match = re.search(pattern, message[:_MAX_MESSAGE])
        if match:
            cause = cause.format(**match.groupdict())
            return Fatal(message, place, cause + _position(context), remedy)
    return Fatal(
        message,
        place,
        "Caffe stopped on a check" if "Check failed" in message else "Caffe stopped",
        "the message and its place in Caffe's source say which",
    )


def explain_crash(signal: str) -> Fatal:
    """Return the cause of a crash; `signal` is glog's line about it, or begins like it."""
    if "SIGBUS" in signal:
        return Fatal(
            signal,
            "",
            "Caffe crashed, which it does when a file that it maps, such as an LMDB, is truncated",
            "check the LMDB with sqgen data info, and the room on its disk",
        )
    return Fatal(
        signal,
        "",
        "Caffe crashed, which it does on labels that are not 0 to classes - 1",
        "check the labels against num_output, then the room in memory",
    )


def _position(context: str) -> str:
    """Return libprotobuf's `line:column: message`, in brackets."""
    match = re.search(r": (\d+:\d+): (.*)", context)
    return f" ({match[1]}: {match[2].strip()})" if match else ""
