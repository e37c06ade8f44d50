"""The table of fields that forks of Caffe added: whose each is, and what it changes.

Read from the forks' `caffe.proto`: NVCaffe 0.11 to 0.17, Intel Caffe 1.1, SSD, Caffe-jacinto 0.17,
and those that published nets most often name besides. A field whose value is Caffe's own behaviour
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import NamedTuple

from .text_parser import Scalar, UnknownField


class Effect(Enum):
    """What a field changes against a Caffe without it."""

    NOTHING = "nothing: which library computes, in which precision, with how many threads"
    RECORDS = "which records a batch holds, or how they are transformed"
    TRAINING = "how weights are initialized and updated"
    FUNCTION = "what a layer computes"
    SHAPE = "what a layer computes, and the shapes of its blobs"
    FOREIGN = "a layer of a type that Caffe lacks, which is remarked itself"


# What a field must not change for a command to go on: one that computes a net, one that also reads
# its records, and one that also trains it.
COMPUTED = frozenset((Effect.FUNCTION, Effect.SHAPE, Effect.FOREIGN))
TESTED = COMPUTED | {Effect.RECORDS}
TRAINED = TESTED | {Effect.TRAINING}


class ForkField(NamedTuple):
    """A field of a fork.

    Attributes:
        fork: the fork's name.
        message, name: the field `name` of `message`.
        effect: what it changes.
        about: what it does, as a verb with its object.
        neutral: the value with which Caffe does the same, if there is one.
    """

    fork: str
    message: str
    name: str
    effect: Effect
    about: str
    neutral: Scalar | None = None

    @property
    def path(self) -> str:
        """The name in messages."""
        return f"{self.message}.{self.name}"


class ForkUse(NamedTuple):
    """A field of a fork that a file sets to a value that Caffe does not share.

    Attributes:
        field: the field.
        value: as in `UnknownField`.
        line: in the file.
        entry: as in `UnknownField`.
    """

    field: ForkField
    value: Scalar
    line: int
    entry: int


_NV, _INTEL, _SSD, _TI = "NVCaffe", "Intel Caffe", "SSD", "Caffe-jacinto"
_TSN, _PSP, _FCN = "TSN's Caffe", "PSPNet", "ParseNet"
_BENCHMARK, _YOLO = "caffenet-benchmark's Caffe", "MobileNet-YOLO"

# Fork, effect, what the fields do, and their names in each message; `=` gives the neutral value.
_Row = tuple[str, Effect, str, dict[str, str]]
_ENGINE = "selects how it is computed"
_HINTS: tuple[_Row, ...] = tuple(
    (fork, Effect.NOTHING, _ENGINE, fields)
    for fork, fields in {
        _NV: {
            "LayerParameter": "forward_type backward_type forward_math backward_math debug"
            " cudnn_math_override",
            "NetParameter": "default_forward_type default_backward_type default_forward_math"
            " default_backward_math default_conv_algos_override default_cudnn_math_override"
            " global_grad_scale global_grad_scale_adaptive reduce_buckets eltwise_mem_sharing",
            "ConvolutionParameter": "cudnn_convolution_algo_seeker conv_algos_override CuDNNFwdAlgo"
            " CuDNNBwdFilterAlgo CuDNNBwdDataAlgo CuDNNWorkspaceSize",
            "TransformationParameter": "use_gpu_transform random_seed forward_packing display"
            " interpolation_algo_up interpolation_algo_down",
            "DataParameter": "threads parser_threads cache precache",
            "ImageDataParameter": "threads cache precache",
            "DropoutParameter": "engine random_seed",
            "SolverParameter": "store_blobs_in_old_format solver_data_type per_parameter_reduce"
            " test_and_snapshot_last_epochs rampup_lr larc_policy larc_eta larc_turbo max_momentum"
            " momentum_power max_weight_decay weight_decay_power",
        },
        _INTEL: {
            "LayerParameter": "engine multinode mn_activation_param mn_grad_compress_param",
            "NetParameter": "engine multinode compile_net_state",
            "SolverParameter": "engine test_offset warmup_start_lr local_gw_ratio",
            "BatchNormParameter": "engine",
            "ConcatParameter": "engine per_fla_fuse",
            "ConvolutionParameter": "conv_algorithm",
            "EltwiseParameter": "engine",
            "InnerProductParameter": "engine",
            "ReLUParameter": "fuse",
        },
        _SSD: {
            "SolverParameter": "eval_type ap_version show_per_class_result plateau_winsize",
        },
        _TI: {
            "LayerParameter": "snapshot_log_in snapshot_log_out snapshot_log_weights",
            "SolverParameter": "display_quantization display_sparsity ignore_mismatching_blobs"
            " ignore_shape_mismatch snapshot_log sparsity_itr_increment_bfr_applying"
            " sparsity_start_factor sparsity_start_iter sparsity_step_factor sparsity_step_iter"
            " sparsity_target sparsity_threshold_maxratio sparsity_threshold_value_max",
            "AccuracyParameter": "history_size",
        },
        _TSN: {"NetParameter": "mem_param", "SolverParameter": "group_id richness"},
        _FCN: {"SolverParameter": "log_avg_gradient_norm test_before_snapshot"},
        "R-FCN": {"LossParameter": "pre_fixed_normalizer"},
    }.items()
)
_CHANGES: tuple[_Row, ...] = (
    (
        f"{_NV}, {_INTEL} and others",
        Effect.RECORDS,
        "shuffles the records",
        {"DataParameter": "shuffle=false"},
    ),
    (
        _NV,
        Effect.RECORDS,
        "resizes the images",
        {
            "TransformationParameter": "img_rand_resize_lower=0 img_rand_resize_upper=0"
            " rand_resize_ratio_lower=0 rand_resize_ratio_upper=0 horizontal_stretch_lower=1"
            " horizontal_stretch_upper=1 vertical_stretch_lower=1 vertical_stretch_upper=1"
            " allow_upscale=false",
            "ImageDataParameter": "short_side=0",
        },
    ),
    (
        _NV,
        Effect.RECORDS,
        "selects records and labels",
        {
            "TransformationParameter": "num_labels=0",
            "ImageDataParameter": "dataset_share_per_node=1",
        },
    ),
    (
        f"{_SSD} and others",
        Effect.RECORDS,
        "resizes, crops or alters the images",
        {
            "TransformationParameter": "resize_param noise_param distort_param expand_param"
            " emit_constraint crop_h=0 crop_w=0",
        },
    ),
    (
        _INTEL,
        Effect.RECORDS,
        "resizes, crops or alters the images",
        {
            "TransformationParameter": "random_resize_param random_aspect_ratio_param flow=false"
            " bgr2rgb=false pad=0",
            "ImageDataParameter": "min_height=0 min_width=0",
            "DataParameter": "side",
        },
    ),
    (
        _BENCHMARK,
        Effect.RECORDS,
        "crops, mirrors or rotates the images",
        {
            "TransformationParameter": "random_90_deg_rot=false random_crop_on_test=false"
            " vertical_mirror=false",
        },
    ),
    (
        _TSN,
        Effect.RECORDS,
        "crops or scales the images",
        {
            "TransformationParameter": "fix_crop=false more_fix_crop=false multi_scale=false"
            " scale_ratios max_distort=1 is_flow=false original_image=false stride=1 upper_height"
            " upper_width upper_size",
        },
    ),
    (
        _PSP,
        Effect.RECORDS,
        "crops or scales the images, or reads labels from images",
        {
            "TransformationParameter": "crop_height=0 crop_width=0 scale_factors",
            "ImageDataParameter": "label_type=IMAGE ignore_label",
        },
    ),
    (
        _YOLO,
        Effect.RECORDS,
        "alters the images",
        {
            "TransformationParameter": "apply_probability contrast_brightness_adjustment=false"
            " cvt_bgr2rgb=false debug_params=false enable_classf_aug=false max_brightness_shift"
            " max_color_shift max_contrast max_rotation_angle=0 max_scaling_factor max_smooth"
            " min_contrast min_scaling_factor min_side=0 min_side_max=0 min_side_min=0"
            " smooth_filtering=false",
        },
    ),
    (
        _TI,
        Effect.RECORDS,
        "reads images of several sizes, or shuffles them",
        {
            "TransformationParameter": "var_sz_img_enabled=false",
            "DataParameter": "shuffle_skip_max",
        },
    ),
    (
        _FCN,
        Effect.RECORDS,
        "shuffles the records",
        {"DataParameter": "shuffle_buffer_size=0"},
    ),
    (
        _NV,
        Effect.TRAINING,
        "raises the learning rate over the first iterations",
        {"SolverParameter": "rampup_interval=0"},
    ),
    (
        _NV,
        Effect.TRAINING,
        "sets the least learning rate",
        {"SolverParameter": "min_lr=0"},
    ),
    (
        _NV,
        Effect.TRAINING,
        "adapts the learning rate to each layer (LARC)",
        {"SolverParameter": "larc=false"},
    ),
    (
        _NV,
        Effect.TRAINING,
        "changes momentum or weight decay during the training",
        {"SolverParameter": "momentum_policy=fixed weight_decay_policy=fixed"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "raises the learning rate over the first iterations",
        {"SolverParameter": "warmup_iter=0"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "adapts the learning rate to each layer (LARS)",
        {"SolverParameter": "local_lr_auto=false"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "lists learning rates for lr_policy multifixed",
        {"SolverParameter": "stagelr stageiter"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "leaves the weights as they are",
        {"SolverParameter": "disabled_update=false"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "scales the initial weights",
        {"FillerParameter": "scale=1"},
    ),
    (
        _INTEL,
        Effect.TRAINING,
        "takes the statistics of BatchNorm from parts of a batch",
        {"NetParameter": "bn_stats_batch_size=0", "BatchNormParameter": "stats_batch_size=0"},
    ),
    (
        _PSP,
        Effect.TRAINING,
        "updates the statistics of BatchNorm",
        {"BatchNormParameter": "update_global_stats=false"},
    ),
    (
        _TI,
        Effect.TRAINING,
        "makes weights zero during the training",
        {"SolverParameter": "sparse_mode=SPARSE_NONE"},
    ),
    (
        f"{_NV} and {_INTEL}",
        Effect.FUNCTION,
        "smoothes the labels",
        {"LossParameter": "label_smoothing=0"},
    ),
    (
        "SegNet",
        Effect.FUNCTION,
        "weights the classes in the loss",
        {"LossParameter": "weight_by_label_freqs=false class_weighting"},
    ),
    (
        _TI,
        Effect.FUNCTION,
        "weights the labels in the loss",
        {
            "LossParameter": "assign_label_weights=false bootstrap_prob_threshold=0"
            " bootstrap_samples_fraction=0 label_weights num_label_weights=0",
        },
    ),
    (
        _TI,
        Effect.FUNCTION,
        "quantizes weights and activations",
        {
            "NetParameter": "quantize=false net_quantization_param",
            "SolverParameter": "quantization_param insert_quantization_param=false"
            " quantization_start_iter quantize_activations quantize_weights unsigned_check_in"
            " unsigned_check_out",
        },
    ),
    (_NV, Effect.FUNCTION, "scales the output", {"ELUParameter": "lambda=1"}),
    (
        _BENCHMARK,
        Effect.FUNCTION,
        "mirrors the function",
        {"ELUParameter": "symmetric_mode=false"},
    ),
    (
        _INTEL,
        Effect.FUNCTION,
        "appends a ReLU",
        {
            "ConvolutionParameter": "relu=false negative_slope=0",
            "InnerProductParameter": "relu=false negative_slope=0",
            "BatchNormParameter": "relu=false",
        },
    ),
    (
        _INTEL,
        Effect.FUNCTION,
        "adds another blob to the output",
        {"ConvolutionParameter": "fusion_type=NONE_FUSION coeff"},
    ),
    (
        _INTEL,
        Effect.FUNCTION,
        "averages without the padding",
        {"PoolingParameter": "avg_include_pad=true"},
    ),
    (
        "SegNet",
        Effect.FUNCTION,
        "drops in TEST, too",
        {"DropoutParameter": "sample_weights_test=false"},
    ),
    (
        "R-FCN",
        Effect.FUNCTION,
        "scales in TEST instead of TRAIN",
        {"DropoutParameter": "scale_train=true"},
    ),
    (
        _NV,
        Effect.SHAPE,
        "rounds the size of the output down",
        {"PoolingParameter": "torch_pooling=false"},
    ),
    (
        _NV,
        Effect.SHAPE,
        "scales and shifts the output (Scale)",
        {"BatchNormParameter": "scale_bias=false scale_filler bias_filler"},
    ),
    (
        _INTEL,
        Effect.SHAPE,
        "scales and shifts the output (Scale)",
        {"BatchNormParameter": "use_weight_bias=false bias_term=false filler"},
    ),
    (
        _INTEL,
        Effect.SHAPE,
        "pools along other axes",
        {"PoolingParameter": "axis=1 kernel_size_3d stride_3d pad_3d"},
    ),
    (
        _INTEL,
        Effect.SHAPE,
        "moves channels into the image",
        {"ReshapeParameter": "pixelshuffler=1"},
    ),
    (
        _TSN,
        Effect.SHAPE,
        "dilates along one axis",
        {"ConvolutionParameter": "dilation_h=1 dilation_w=1"},
    ),
    (_TSN, Effect.SHAPE, "reduces to the k largest", {"ReductionParameter": "k=1"}),
    (
        _FCN,
        Effect.SHAPE,
        "changes the window",
        {
            "ConvolutionParameter": "filter_stride=1 filter_stride_h=1 filter_stride_w=1",
            "PoolingParameter": "bin_size bin_h bin_w",
        },
    ),
    (
        f"{_SSD} and others",
        Effect.SHAPE,
        "says how the size of the output is rounded",
        {"PoolingParameter": "ceil_mode"},
    ),
)
# In the schema it is Ristretto's, whose own layer types alone read it (ristretto.py).
OTHER_QUANTIZATION = ForkField(
    f"{_INTEL} and {_TI}",
    "LayerParameter",
    "quantization_param",
    Effect.FUNCTION,
    "quantizes weights and activations",
)
# Messages of LayerParameter for layer types of forks: the layers of other types don't read them.
_LAYER_PARAMS = {
    _SSD: "annotated_data_param detection_evaluate_param detection_output_param multibox_loss_param"
    " norm_param permute_param prior_box_param video_data_param",
    _NV: "detectnet_augmentation_param detectnet_groundtruth_param trt_param",
    _INTEL: "eval_detection_param spatial_dropout_param split_param",
    "R-FCN": "box_annotator_ohem_param psroi_pooling_param smooth_l1_loss_param",
    "Fast R-CNN": "roi_pooling_param",
    _YOLO: "region_loss_param relu6_param reorg_param segmentation_evaluate_param"
    " yolo_detection_output_param yolo_seg_param yolov3_detection_output_param yolov3_param",
    "SegNet": "bn_param dense_image_data_param upsample_param",
    _PSP: "adaptive_bias_channel_param bias_channel_param dense_crf_param domain_transform_param"
    " interp_param mat_read_param mat_write_param seg_accuracy_param unique_label_param",
    _TSN: "batch_reduction_param seg_data_param",
    _TI: "image_label_data_param image_label_transform_param",
    _FCN: "parse_evaluate_param unpooling_param",
    _BENCHMARK: "eltwise_affine_param image_loc_data_param local_param rrelu_param"
    " triplet_loss_param",
}
# Values of Caffe's own enums that forks added.
_VALUES: tuple[_Row, ...] = (
    *(
        (_INTEL, Effect.NOTHING, _ENGINE, {f"{message}Parameter.Engine": "MKL2017 MKLDNN"})
        for message in ("Convolution", "LRN", "Pooling", "ReLU")
    ),
    ("R-FCN", Effect.FUNCTION, "scales the loss", {"LossParameter.NormalizationMode": "PRE_FIXED"}),
    (_TSN, Effect.FUNCTION, "sums at random", {"EltwiseParameter.EltwiseOp": "STOCHASTIC_SUM"}),
    (_TSN, Effect.SHAPE, "keeps the k largest", {"ReductionParameter.ReductionOp": "TOPK"}),
    (_FCN, Effect.RECORDS, "reads another format", {"DataParameter.DB": "DATUMFILE"}),
    (_NV, Effect.TRAINING, "selects another solver", {"SolverParameter.SolverType": "SAG"}),
)


def _literal(word: str) -> Scalar | None:
    if not word:
        return None
    if word in ("true", "false"):
        return word == "true"
    return float(word) if word.isdigit() else word


def _fields(rows: tuple[_Row, ...]) -> Iterator[ForkField]:
    for fork, effect, about, messages in rows:
        for message, names in messages.items():
            for name, _, neutral in (word.partition("=") for word in names.split()):
                yield ForkField(fork, message, name, effect, about, _literal(neutral))


def _layer_params() -> Iterator[ForkField]:
    for fork, names in _LAYER_PARAMS.items():
        for name in names.split():
            about = "is for layers of another type"
            yield ForkField(fork, "LayerParameter", name, Effect.NOTHING, about)


def fork_fields() -> Iterator[ForkField]:
    """Yield the fields that forks added."""
    yield from _fields((*_HINTS, *_CHANGES))
    yield from _layer_params()


def fork_values() -> Iterator[ForkField]:
    """Yield the values of enums that forks added: `message` is the enum, `name` the value."""
    return _fields(_VALUES)


@cache  # made on use: most files have none
def _by_path() -> dict[str, ForkField]:
    known = (*fork_fields(), *fork_values(), OTHER_QUANTIZATION)
    return {field.path: field for field in known}


def find_fork_field(unknown: UnknownField) -> ForkField | None:
    """Return the fork's field, or value of an enum, that a file has; None for any other."""
    if unknown.enum:
        return _by_path().get(f"{unknown.enum}.{unknown.value}")
    message = unknown.message.DESCRIPTOR.name.removeprefix("V1")
    return _by_path().get(f"{message}.{unknown.name}")
