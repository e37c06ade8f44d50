"""Types of `schema.py`, written by `make schema` from `caffe.proto`; edit that, not this."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as _Messages
from google.protobuf.internal.containers import RepeatedScalarFieldContainer as _Scalars
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper as _Enum
from google.protobuf.message import Message

PROTO: Path
DESCRIPTOR: Path
PHASES: dict[str, int]

def message_class(name: str) -> Any: ...

Phase: Final[_Enum]
TRAIN: Final = 0
TEST: Final = 1

class BlobShape(Message):
    dim: Final[_Scalars[int]]
    def __init__(
        self,
        *,
        dim: Iterable[int] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: Literal["dim"]) -> None: ...

class BlobProto(Message):
    shape: Final[BlobShape]
    data: Final[_Scalars[float]]
    diff: Final[_Scalars[float]]
    double_data: Final[_Scalars[float]]
    double_diff: Final[_Scalars[float]]
    num: int
    channels: int
    height: int
    width: int
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        data: Iterable[float] | None = ...,
        diff: Iterable[float] | None = ...,
        double_data: Iterable[float] | None = ...,
        double_diff: Iterable[float] | None = ...,
        num: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["shape", "num", "channels", "height", "width"]) -> bool: ...
    def ClearField(self, field_name: Literal["shape", "data", "diff", "double_data", "double_diff", "num", "channels", "height", "width"]) -> None: ...

class BlobProtoVector(Message):
    blobs: Final[_Messages[BlobProto]]
    def __init__(
        self,
        *,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: Literal["blobs"]) -> None: ...

class Datum(Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    float_data: Final[_Scalars[float]]
    encoded: bool
    def __init__(
        self,
        *,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: bytes | None = ...,
        label: int | None = ...,
        float_data: Iterable[float] | None = ...,
        encoded: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["channels", "height", "width", "data", "label", "encoded"]) -> bool: ...
    def ClearField(self, field_name: Literal["channels", "height", "width", "data", "label", "float_data", "encoded"]) -> None: ...

class FillerParameter(Message):
    VarianceNorm: Final[_Enum]
    FAN_IN: Final = 0
    FAN_OUT: Final = 1
    AVERAGE: Final = 2
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    def __init__(
        self,
        *,
        type: str | None = ...,
        value: float | None = ...,
        min: float | None = ...,
        max: float | None = ...,
        mean: float | None = ...,
        std: float | None = ...,
        sparse: int | None = ...,
        variance_norm: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["type", "value", "min", "max", "mean", "std", "sparse", "variance_norm"]) -> bool: ...
    def ClearField(self, field_name: Literal["type", "value", "min", "max", "mean", "std", "sparse", "variance_norm"]) -> None: ...

class NetParameter(Message):
    name: str
    input: Final[_Scalars[str]]
    input_shape: Final[_Messages[BlobShape]]
    input_dim: Final[_Scalars[int]]
    force_backward: bool
    state: Final[NetState]
    debug_info: bool
    layer: Final[_Messages[LayerParameter]]
    layers: Final[_Messages[V1LayerParameter]]
    def __init__(
        self,
        *,
        name: str | None = ...,
        input: Iterable[str] | None = ...,
        input_shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
        input_dim: Iterable[int] | None = ...,
        force_backward: bool | None = ...,
        state: NetState | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        layer: Iterable[LayerParameter | Mapping[str, Any]] | None = ...,
        layers: Iterable[V1LayerParameter | Mapping[str, Any]] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["name", "force_backward", "state", "debug_info"]) -> bool: ...
    def ClearField(self, field_name: Literal["name", "input", "input_shape", "input_dim", "force_backward", "state", "debug_info", "layer", "layers"]) -> None: ...

class SolverParameter(Message):
    SnapshotFormat: Final[_Enum]
    HDF5: Final = 0
    BINARYPROTO: Final = 1
    SolverMode: Final[_Enum]
    CPU: Final = 0
    GPU: Final = 1
    SolverType: Final[_Enum]
    SGD: Final = 0
    NESTEROV: Final = 1
    ADAGRAD: Final = 2
    RMSPROP: Final = 3
    ADADELTA: Final = 4
    ADAM: Final = 5
    net: str
    net_param: Final[NetParameter]
    train_net: str
    test_net: Final[_Scalars[str]]
    train_net_param: Final[NetParameter]
    test_net_param: Final[_Messages[NetParameter]]
    train_state: Final[NetState]
    test_state: Final[_Messages[NetState]]
    test_iter: Final[_Scalars[int]]
    test_interval: int
    test_compute_loss: bool
    test_initialization: bool
    base_lr: float
    display: int
    average_loss: int
    max_iter: int
    iter_size: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    regularization_type: str
    stepsize: int
    stepvalue: Final[_Scalars[int]]
    clip_gradients: float
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    snapshot_format: int
    solver_mode: int
    device_id: int
    random_seed: int
    type: str
    delta: float
    momentum2: float
    rms_decay: float
    debug_info: bool
    snapshot_after_train: bool
    solver_type: int
    layer_wise_reduce: bool
    weights: Final[_Scalars[str]]
    def __init__(
        self,
        *,
        net: str | None = ...,
        net_param: NetParameter | Mapping[str, Any] | None = ...,
        train_net: str | None = ...,
        test_net: Iterable[str] | None = ...,
        train_net_param: NetParameter | Mapping[str, Any] | None = ...,
        test_net_param: Iterable[NetParameter | Mapping[str, Any]] | None = ...,
        train_state: NetState | Mapping[str, Any] | None = ...,
        test_state: Iterable[NetState | Mapping[str, Any]] | None = ...,
        test_iter: Iterable[int] | None = ...,
        test_interval: int | None = ...,
        test_compute_loss: bool | None = ...,
        test_initialization: bool | None = ...,
        base_lr: float | None = ...,
        display: int | None = ...,
        average_loss: int | None = ...,
        max_iter: int | None = ...,
        iter_size: int | None = ...,
        lr_policy: str | None = ...,
        gamma: float | None = ...,
        power: float | None = ...,
        momentum: float | None = ...,
        weight_decay: float | None = ...,
        regularization_type: str | None = ...,
        stepsize: int | None = ...,
        stepvalue: Iterable[int] | None = ...,
        clip_gradients: float | None = ...,
        snapshot: int | None = ...,
        snapshot_prefix: str | None = ...,
        snapshot_diff: bool | None = ...,
        snapshot_format: int | str | None = ...,
        solver_mode: int | str | None = ...,
        device_id: int | None = ...,
        random_seed: int | None = ...,
        type: str | None = ...,
        delta: float | None = ...,
        momentum2: float | None = ...,
        rms_decay: float | None = ...,
        debug_info: bool | None = ...,
        snapshot_after_train: bool | None = ...,
        solver_type: int | str | None = ...,
        layer_wise_reduce: bool | None = ...,
        weights: Iterable[str] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["net", "net_param", "train_net", "train_net_param", "train_state", "test_interval", "test_compute_loss", "test_initialization", "base_lr", "display", "average_loss", "max_iter", "iter_size", "lr_policy", "gamma", "power", "momentum", "weight_decay", "regularization_type", "stepsize", "clip_gradients", "snapshot", "snapshot_prefix", "snapshot_diff", "snapshot_format", "solver_mode", "device_id", "random_seed", "type", "delta", "momentum2", "rms_decay", "debug_info", "snapshot_after_train", "solver_type", "layer_wise_reduce"]) -> bool: ...
    def ClearField(self, field_name: Literal["net", "net_param", "train_net", "test_net", "train_net_param", "test_net_param", "train_state", "test_state", "test_iter", "test_interval", "test_compute_loss", "test_initialization", "base_lr", "display", "average_loss", "max_iter", "iter_size", "lr_policy", "gamma", "power", "momentum", "weight_decay", "regularization_type", "stepsize", "stepvalue", "clip_gradients", "snapshot", "snapshot_prefix", "snapshot_diff", "snapshot_format", "solver_mode", "device_id", "random_seed", "type", "delta", "momentum2", "rms_decay", "debug_info", "snapshot_after_train", "solver_type", "layer_wise_reduce", "weights"]) -> None: ...

class SolverState(Message):
    iter: int
    learned_net: str
    history: Final[_Messages[BlobProto]]
    current_step: int
    def __init__(
        self,
        *,
        iter: int | None = ...,
        learned_net: str | None = ...,
        history: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        current_step: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["iter", "learned_net", "current_step"]) -> bool: ...
    def ClearField(self, field_name: Literal["iter", "learned_net", "history", "current_step"]) -> None: ...

class NetState(Message):
    phase: int
    level: int
    stage: Final[_Scalars[str]]
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        level: int | None = ...,
        stage: Iterable[str] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["phase", "level"]) -> bool: ...
    def ClearField(self, field_name: Literal["phase", "level", "stage"]) -> None: ...

class NetStateRule(Message):
    phase: int
    min_level: int
    max_level: int
    stage: Final[_Scalars[str]]
    not_stage: Final[_Scalars[str]]
    def __init__(
        self,
        *,
        phase: int | str | None = ...,
        min_level: int | None = ...,
        max_level: int | None = ...,
        stage: Iterable[str] | None = ...,
        not_stage: Iterable[str] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["phase", "min_level", "max_level"]) -> bool: ...
    def ClearField(self, field_name: Literal["phase", "min_level", "max_level", "stage", "not_stage"]) -> None: ...

class ParamSpec(Message):
    DimCheckMode: Final[_Enum]
    STRICT: Final = 0
    PERMISSIVE: Final = 1
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float
    def __init__(
        self,
        *,
        name: str | None = ...,
        share_mode: int | str | None = ...,
        lr_mult: float | None = ...,
        decay_mult: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["name", "share_mode", "lr_mult", "decay_mult"]) -> bool: ...
    def ClearField(self, field_name: Literal["name", "share_mode", "lr_mult", "decay_mult"]) -> None: ...

class LayerParameter(Message):
    name: str
    type: str
    bottom: Final[_Scalars[str]]
    top: Final[_Scalars[str]]
    phase: int
    loss_weight: Final[_Scalars[float]]
    param: Final[_Messages[ParamSpec]]
    blobs: Final[_Messages[BlobProto]]
    propagate_down: Final[_Scalars[bool]]
    include: Final[_Messages[NetStateRule]]
    exclude: Final[_Messages[NetStateRule]]
    transform_param: Final[TransformationParameter]
    loss_param: Final[LossParameter]
    accuracy_param: Final[AccuracyParameter]
    argmax_param: Final[ArgMaxParameter]
    batch_norm_param: Final[BatchNormParameter]
    bias_param: Final[BiasParameter]
    clip_param: Final[ClipParameter]
    concat_param: Final[ConcatParameter]
    contrastive_loss_param: Final[ContrastiveLossParameter]
    convolution_param: Final[ConvolutionParameter]
    crop_param: Final[CropParameter]
    data_param: Final[DataParameter]
    dropout_param: Final[DropoutParameter]
    dummy_data_param: Final[DummyDataParameter]
    eltwise_param: Final[EltwiseParameter]
    elu_param: Final[ELUParameter]
    embed_param: Final[EmbedParameter]
    exp_param: Final[ExpParameter]
    flatten_param: Final[FlattenParameter]
    hdf5_data_param: Final[HDF5DataParameter]
    hdf5_output_param: Final[HDF5OutputParameter]
    hinge_loss_param: Final[HingeLossParameter]
    image_data_param: Final[ImageDataParameter]
    infogain_loss_param: Final[InfogainLossParameter]
    inner_product_param: Final[InnerProductParameter]
    input_param: Final[InputParameter]
    log_param: Final[LogParameter]
    lrn_param: Final[LRNParameter]
    memory_data_param: Final[MemoryDataParameter]
    mvn_param: Final[MVNParameter]
    parameter_param: Final[ParameterParameter]
    pooling_param: Final[PoolingParameter]
    power_param: Final[PowerParameter]
    prelu_param: Final[PReLUParameter]
    python_param: Final[PythonParameter]
    quantization_param: Final[QuantizationParameter]
    recurrent_param: Final[RecurrentParameter]
    reduction_param: Final[ReductionParameter]
    relu_param: Final[ReLUParameter]
    reshape_param: Final[ReshapeParameter]
    scale_param: Final[ScaleParameter]
    sigmoid_param: Final[SigmoidParameter]
    softmax_param: Final[SoftmaxParameter]
    spp_param: Final[SPPParameter]
    slice_param: Final[SliceParameter]
    swish_param: Final[SwishParameter]
    tanh_param: Final[TanHParameter]
    threshold_param: Final[ThresholdParameter]
    tile_param: Final[TileParameter]
    window_data_param: Final[WindowDataParameter]
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        phase: int | str | None = ...,
        loss_weight: Iterable[float] | None = ...,
        param: Iterable[ParamSpec | Mapping[str, Any]] | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        propagate_down: Iterable[bool] | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        batch_norm_param: BatchNormParameter | Mapping[str, Any] | None = ...,
        bias_param: BiasParameter | Mapping[str, Any] | None = ...,
        clip_param: ClipParameter | Mapping[str, Any] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        crop_param: CropParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        elu_param: ELUParameter | Mapping[str, Any] | None = ...,
        embed_param: EmbedParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        flatten_param: FlattenParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        input_param: InputParameter | Mapping[str, Any] | None = ...,
        log_param: LogParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        parameter_param: ParameterParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        prelu_param: PReLUParameter | Mapping[str, Any] | None = ...,
        python_param: PythonParameter | Mapping[str, Any] | None = ...,
        quantization_param: QuantizationParameter | Mapping[str, Any] | None = ...,
        recurrent_param: RecurrentParameter | Mapping[str, Any] | None = ...,
        reduction_param: ReductionParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        reshape_param: ReshapeParameter | Mapping[str, Any] | None = ...,
        scale_param: ScaleParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        spp_param: SPPParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        swish_param: SwishParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        tile_param: TileParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["name", "type", "phase", "transform_param", "loss_param", "accuracy_param", "argmax_param", "batch_norm_param", "bias_param", "clip_param", "concat_param", "contrastive_loss_param", "convolution_param", "crop_param", "data_param", "dropout_param", "dummy_data_param", "eltwise_param", "elu_param", "embed_param", "exp_param", "flatten_param", "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "image_data_param", "infogain_loss_param", "inner_product_param", "input_param", "log_param", "lrn_param", "memory_data_param", "mvn_param", "parameter_param", "pooling_param", "power_param", "prelu_param", "python_param", "quantization_param", "recurrent_param", "reduction_param", "relu_param", "reshape_param", "scale_param", "sigmoid_param", "softmax_param", "spp_param", "slice_param", "swish_param", "tanh_param", "threshold_param", "tile_param", "window_data_param"]) -> bool: ...
    def ClearField(self, field_name: Literal["name", "type", "bottom", "top", "phase", "loss_weight", "param", "blobs", "propagate_down", "include", "exclude", "transform_param", "loss_param", "accuracy_param", "argmax_param", "batch_norm_param", "bias_param", "clip_param", "concat_param", "contrastive_loss_param", "convolution_param", "crop_param", "data_param", "dropout_param", "dummy_data_param", "eltwise_param", "elu_param", "embed_param", "exp_param", "flatten_param", "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "image_data_param", "infogain_loss_param", "inner_product_param", "input_param", "log_param", "lrn_param", "memory_data_param", "mvn_param", "parameter_param", "pooling_param", "power_param", "prelu_param", "python_param", "quantization_param", "recurrent_param", "reduction_param", "relu_param", "reshape_param", "scale_param", "sigmoid_param", "softmax_param", "spp_param", "slice_param", "swish_param", "tanh_param", "threshold_param", "tile_param", "window_data_param"]) -> None: ...

class TransformationParameter(Message):
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    mean_value: Final[_Scalars[float]]
    force_color: bool
    force_gray: bool
    def __init__(
        self,
        *,
        scale: float | None = ...,
        mirror: bool | None = ...,
        crop_size: int | None = ...,
        mean_file: str | None = ...,
        mean_value: Iterable[float] | None = ...,
        force_color: bool | None = ...,
        force_gray: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["scale", "mirror", "crop_size", "mean_file", "force_color", "force_gray"]) -> bool: ...
    def ClearField(self, field_name: Literal["scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray"]) -> None: ...

class LossParameter(Message):
    NormalizationMode: Final[_Enum]
    FULL: Final = 0
    VALID: Final = 1
    BATCH_SIZE: Final = 2
    NONE: Final = 3
    ignore_label: int
    normalization: int
    normalize: bool
    def __init__(
        self,
        *,
        ignore_label: int | None = ...,
        normalization: int | str | None = ...,
        normalize: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["ignore_label", "normalization", "normalize"]) -> bool: ...
    def ClearField(self, field_name: Literal["ignore_label", "normalization", "normalize"]) -> None: ...

class AccuracyParameter(Message):
    top_k: int
    axis: int
    ignore_label: int
    def __init__(
        self,
        *,
        top_k: int | None = ...,
        axis: int | None = ...,
        ignore_label: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["top_k", "axis", "ignore_label"]) -> bool: ...
    def ClearField(self, field_name: Literal["top_k", "axis", "ignore_label"]) -> None: ...

class ArgMaxParameter(Message):
    out_max_val: bool
    top_k: int
    axis: int
    def __init__(
        self,
        *,
        out_max_val: bool | None = ...,
        top_k: int | None = ...,
        axis: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["out_max_val", "top_k", "axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["out_max_val", "top_k", "axis"]) -> None: ...

class ClipParameter(Message):
    min: float
    max: float
    def __init__(
        self,
        *,
        min: float | None = ...,
        max: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["min", "max"]) -> bool: ...
    def ClearField(self, field_name: Literal["min", "max"]) -> None: ...

class ConcatParameter(Message):
    axis: int
    concat_dim: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        concat_dim: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "concat_dim"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "concat_dim"]) -> None: ...

class BatchNormParameter(Message):
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    def __init__(
        self,
        *,
        use_global_stats: bool | None = ...,
        moving_average_fraction: float | None = ...,
        eps: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["use_global_stats", "moving_average_fraction", "eps"]) -> bool: ...
    def ClearField(self, field_name: Literal["use_global_stats", "moving_average_fraction", "eps"]) -> None: ...

class BiasParameter(Message):
    axis: int
    num_axes: int
    filler: Final[FillerParameter]
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "num_axes", "filler"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "num_axes", "filler"]) -> None: ...

class ContrastiveLossParameter(Message):
    margin: float
    legacy_version: bool
    def __init__(
        self,
        *,
        margin: float | None = ...,
        legacy_version: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["margin", "legacy_version"]) -> bool: ...
    def ClearField(self, field_name: Literal["margin", "legacy_version"]) -> None: ...

class ConvolutionParameter(Message):
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    num_output: int
    bias_term: bool
    pad: Final[_Scalars[int]]
    kernel_size: Final[_Scalars[int]]
    stride: Final[_Scalars[int]]
    dilation: Final[_Scalars[int]]
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    engine: int
    axis: int
    force_nd_im2col: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        pad: Iterable[int] | None = ...,
        kernel_size: Iterable[int] | None = ...,
        stride: Iterable[int] | None = ...,
        dilation: Iterable[int] | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        group: int | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        engine: int | str | None = ...,
        axis: int | None = ...,
        force_nd_im2col: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["num_output", "bias_term", "pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w", "group", "weight_filler", "bias_filler", "engine", "axis", "force_nd_im2col"]) -> bool: ...
    def ClearField(self, field_name: Literal["num_output", "bias_term", "pad", "kernel_size", "stride", "dilation", "pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w", "group", "weight_filler", "bias_filler", "engine", "axis", "force_nd_im2col"]) -> None: ...

class CropParameter(Message):
    axis: int
    offset: Final[_Scalars[int]]
    def __init__(
        self,
        *,
        axis: int | None = ...,
        offset: Iterable[int] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "offset"]) -> None: ...

class DataParameter(Message):
    DB: Final[_Enum]
    LEVELDB: Final = 0
    LMDB: Final = 1
    source: str
    batch_size: int
    rand_skip: int
    backend: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    force_encoded_color: bool
    prefetch: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        backend: int | str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        force_encoded_color: bool | None = ...,
        prefetch: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["source", "batch_size", "rand_skip", "backend", "scale", "mean_file", "crop_size", "mirror", "force_encoded_color", "prefetch"]) -> bool: ...
    def ClearField(self, field_name: Literal["source", "batch_size", "rand_skip", "backend", "scale", "mean_file", "crop_size", "mirror", "force_encoded_color", "prefetch"]) -> None: ...

class DropoutParameter(Message):
    dropout_ratio: float
    def __init__(
        self,
        *,
        dropout_ratio: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["dropout_ratio"]) -> bool: ...
    def ClearField(self, field_name: Literal["dropout_ratio"]) -> None: ...

class DummyDataParameter(Message):
    data_filler: Final[_Messages[FillerParameter]]
    shape: Final[_Messages[BlobShape]]
    num: Final[_Scalars[int]]
    channels: Final[_Scalars[int]]
    height: Final[_Scalars[int]]
    width: Final[_Scalars[int]]
    def __init__(
        self,
        *,
        data_filler: Iterable[FillerParameter | Mapping[str, Any]] | None = ...,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
        num: Iterable[int] | None = ...,
        channels: Iterable[int] | None = ...,
        height: Iterable[int] | None = ...,
        width: Iterable[int] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: Literal["data_filler", "shape", "num", "channels", "height", "width"]) -> None: ...

class EltwiseParameter(Message):
    EltwiseOp: Final[_Enum]
    PROD: Final = 0
    SUM: Final = 1
    MAX: Final = 2
    operation: int
    coeff: Final[_Scalars[float]]
    stable_prod_grad: bool
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        coeff: Iterable[float] | None = ...,
        stable_prod_grad: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["operation", "stable_prod_grad"]) -> bool: ...
    def ClearField(self, field_name: Literal["operation", "coeff", "stable_prod_grad"]) -> None: ...

class ELUParameter(Message):
    alpha: float
    def __init__(
        self,
        *,
        alpha: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["alpha"]) -> bool: ...
    def ClearField(self, field_name: Literal["alpha"]) -> None: ...

class EmbedParameter(Message):
    num_output: int
    input_dim: int
    bias_term: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        input_dim: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["num_output", "input_dim", "bias_term", "weight_filler", "bias_filler"]) -> bool: ...
    def ClearField(self, field_name: Literal["num_output", "input_dim", "bias_term", "weight_filler", "bias_filler"]) -> None: ...

class ExpParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["base", "scale", "shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["base", "scale", "shift"]) -> None: ...

class FlattenParameter(Message):
    axis: int
    end_axis: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        end_axis: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "end_axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "end_axis"]) -> None: ...

class HDF5DataParameter(Message):
    source: str
    batch_size: int
    shuffle: bool
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        shuffle: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["source", "batch_size", "shuffle"]) -> bool: ...
    def ClearField(self, field_name: Literal["source", "batch_size", "shuffle"]) -> None: ...

class HDF5OutputParameter(Message):
    file_name: str
    def __init__(
        self,
        *,
        file_name: str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["file_name"]) -> bool: ...
    def ClearField(self, field_name: Literal["file_name"]) -> None: ...

class HingeLossParameter(Message):
    Norm: Final[_Enum]
    L1: Final = 1
    L2: Final = 2
    norm: int
    def __init__(
        self,
        *,
        norm: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["norm"]) -> bool: ...
    def ClearField(self, field_name: Literal["norm"]) -> None: ...

class ImageDataParameter(Message):
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    root_folder: str
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        root_folder: str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "scale", "mean_file", "crop_size", "mirror", "root_folder"]) -> bool: ...
    def ClearField(self, field_name: Literal["source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color", "scale", "mean_file", "crop_size", "mirror", "root_folder"]) -> None: ...

class InfogainLossParameter(Message):
    source: str
    axis: int
    def __init__(
        self,
        *,
        source: str | None = ...,
        axis: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["source", "axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["source", "axis"]) -> None: ...

class InnerProductParameter(Message):
    num_output: int
    bias_term: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    axis: int
    transpose: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        transpose: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["num_output", "bias_term", "weight_filler", "bias_filler", "axis", "transpose"]) -> bool: ...
    def ClearField(self, field_name: Literal["num_output", "bias_term", "weight_filler", "bias_filler", "axis", "transpose"]) -> None: ...

class InputParameter(Message):
    shape: Final[_Messages[BlobShape]]
    def __init__(
        self,
        *,
        shape: Iterable[BlobShape | Mapping[str, Any]] | None = ...,
    ) -> None: ...
    def ClearField(self, field_name: Literal["shape"]) -> None: ...

class LogParameter(Message):
    base: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        base: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["base", "scale", "shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["base", "scale", "shift"]) -> None: ...

class LRNParameter(Message):
    NormRegion: Final[_Enum]
    ACROSS_CHANNELS: Final = 0
    WITHIN_CHANNEL: Final = 1
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    def __init__(
        self,
        *,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        norm_region: int | str | None = ...,
        k: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["local_size", "alpha", "beta", "norm_region", "k", "engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["local_size", "alpha", "beta", "norm_region", "k", "engine"]) -> None: ...

class MemoryDataParameter(Message):
    batch_size: int
    channels: int
    height: int
    width: int
    def __init__(
        self,
        *,
        batch_size: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["batch_size", "channels", "height", "width"]) -> bool: ...
    def ClearField(self, field_name: Literal["batch_size", "channels", "height", "width"]) -> None: ...

class MVNParameter(Message):
    normalize_variance: bool
    across_channels: bool
    eps: float
    def __init__(
        self,
        *,
        normalize_variance: bool | None = ...,
        across_channels: bool | None = ...,
        eps: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["normalize_variance", "across_channels", "eps"]) -> bool: ...
    def ClearField(self, field_name: Literal["normalize_variance", "across_channels", "eps"]) -> None: ...

class ParameterParameter(Message):
    shape: Final[BlobShape]
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["shape"]) -> bool: ...
    def ClearField(self, field_name: Literal["shape"]) -> None: ...

class PoolingParameter(Message):
    PoolMethod: Final[_Enum]
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    RoundMode: Final[_Enum]
    CEIL: Final = 0
    FLOOR: Final = 1
    pool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    def __init__(
        self,
        *,
        pool: int | str | None = ...,
        pad: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_size: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        engine: int | str | None = ...,
        global_pooling: bool | None = ...,
        round_mode: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["pool", "pad", "pad_h", "pad_w", "kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w", "engine", "global_pooling", "round_mode"]) -> bool: ...
    def ClearField(self, field_name: Literal["pool", "pad", "pad_h", "pad_w", "kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w", "engine", "global_pooling", "round_mode"]) -> None: ...

class PowerParameter(Message):
    power: float
    scale: float
    shift: float
    def __init__(
        self,
        *,
        power: float | None = ...,
        scale: float | None = ...,
        shift: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["power", "scale", "shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["power", "scale", "shift"]) -> None: ...

class PythonParameter(Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool
    def __init__(
        self,
        *,
        module: str | None = ...,
        layer: str | None = ...,
        param_str: str | None = ...,
        share_in_parallel: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["module", "layer", "param_str", "share_in_parallel"]) -> bool: ...
    def ClearField(self, field_name: Literal["module", "layer", "param_str", "share_in_parallel"]) -> None: ...

class QuantizationParameter(Message):
    Precision: Final[_Enum]
    DYNAMIC_FIXED_POINT: Final = 0
    MINIFLOAT: Final = 1
    INTEGER_POWER_OF_2_WEIGHTS: Final = 2
    Rounding: Final[_Enum]
    NEAREST: Final = 0
    STOCHASTIC: Final = 1
    precision: int
    rounding_scheme: int
    bw_layer_in: int
    bw_layer_out: int
    bw_params: int
    fl_layer_in: int
    fl_layer_out: int
    fl_params: int
    mant_bits: int
    exp_bits: int
    exp_min: int
    exp_max: int
    def __init__(
        self,
        *,
        precision: int | str | None = ...,
        rounding_scheme: int | str | None = ...,
        bw_layer_in: int | None = ...,
        bw_layer_out: int | None = ...,
        bw_params: int | None = ...,
        fl_layer_in: int | None = ...,
        fl_layer_out: int | None = ...,
        fl_params: int | None = ...,
        mant_bits: int | None = ...,
        exp_bits: int | None = ...,
        exp_min: int | None = ...,
        exp_max: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["precision", "rounding_scheme", "bw_layer_in", "bw_layer_out", "bw_params", "fl_layer_in", "fl_layer_out", "fl_params", "mant_bits", "exp_bits", "exp_min", "exp_max"]) -> bool: ...
    def ClearField(self, field_name: Literal["precision", "rounding_scheme", "bw_layer_in", "bw_layer_out", "bw_params", "fl_layer_in", "fl_layer_out", "fl_params", "mant_bits", "exp_bits", "exp_min", "exp_max"]) -> None: ...

class RecurrentParameter(Message):
    num_output: int
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    debug_info: bool
    expose_hidden: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        debug_info: bool | None = ...,
        expose_hidden: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["num_output", "weight_filler", "bias_filler", "debug_info", "expose_hidden"]) -> bool: ...
    def ClearField(self, field_name: Literal["num_output", "weight_filler", "bias_filler", "debug_info", "expose_hidden"]) -> None: ...

class ReductionParameter(Message):
    ReductionOp: Final[_Enum]
    SUM: Final = 1
    ASUM: Final = 2
    SUMSQ: Final = 3
    MEAN: Final = 4
    operation: int
    axis: int
    coeff: float
    def __init__(
        self,
        *,
        operation: int | str | None = ...,
        axis: int | None = ...,
        coeff: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["operation", "axis", "coeff"]) -> bool: ...
    def ClearField(self, field_name: Literal["operation", "axis", "coeff"]) -> None: ...

class ReLUParameter(Message):
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    negative_slope: float
    engine: int
    def __init__(
        self,
        *,
        negative_slope: float | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["negative_slope", "engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["negative_slope", "engine"]) -> None: ...

class ReshapeParameter(Message):
    shape: Final[BlobShape]
    axis: int
    num_axes: int
    def __init__(
        self,
        *,
        shape: BlobShape | Mapping[str, Any] | None = ...,
        axis: int | None = ...,
        num_axes: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["shape", "axis", "num_axes"]) -> bool: ...
    def ClearField(self, field_name: Literal["shape", "axis", "num_axes"]) -> None: ...

class ScaleParameter(Message):
    axis: int
    num_axes: int
    filler: Final[FillerParameter]
    bias_term: bool
    bias_filler: Final[FillerParameter]
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_term: bool | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "num_axes", "filler", "bias_term", "bias_filler"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "num_axes", "filler", "bias_term", "bias_filler"]) -> None: ...

class SigmoidParameter(Message):
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine"]) -> None: ...

class SliceParameter(Message):
    axis: int
    slice_point: Final[_Scalars[int]]
    slice_dim: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        slice_point: Iterable[int] | None = ...,
        slice_dim: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "slice_dim"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "slice_point", "slice_dim"]) -> None: ...

class SoftmaxParameter(Message):
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int
    axis: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
        axis: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["engine", "axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine", "axis"]) -> None: ...

class SwishParameter(Message):
    beta: float
    def __init__(
        self,
        *,
        beta: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["beta"]) -> bool: ...
    def ClearField(self, field_name: Literal["beta"]) -> None: ...

class TanHParameter(Message):
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    engine: int
    def __init__(
        self,
        *,
        engine: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine"]) -> None: ...

class TileParameter(Message):
    axis: int
    tiles: int
    def __init__(
        self,
        *,
        axis: int | None = ...,
        tiles: int | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", "tiles"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", "tiles"]) -> None: ...

class ThresholdParameter(Message):
    threshold: float
    def __init__(
        self,
        *,
        threshold: float | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["threshold"]) -> bool: ...
    def ClearField(self, field_name: Literal["threshold"]) -> None: ...

class WindowDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        fg_threshold: float | None = ...,
        bg_threshold: float | None = ...,
        fg_fraction: float | None = ...,
        context_pad: int | None = ...,
        crop_mode: str | None = ...,
        cache_images: bool | None = ...,
        root_folder: str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["source", "scale", "mean_file", "batch_size", "crop_size", "mirror", "fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode", "cache_images", "root_folder"]) -> bool: ...
    def ClearField(self, field_name: Literal["source", "scale", "mean_file", "batch_size", "crop_size", "mirror", "fg_threshold", "bg_threshold", "fg_fraction", "context_pad", "crop_mode", "cache_images", "root_folder"]) -> None: ...

class SPPParameter(Message):
    PoolMethod: Final[_Enum]
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    Engine: Final[_Enum]
    DEFAULT: Final = 0
    CAFFE: Final = 1
    CUDNN: Final = 2
    pyramid_height: int
    pool: int
    engine: int
    def __init__(
        self,
        *,
        pyramid_height: int | None = ...,
        pool: int | str | None = ...,
        engine: int | str | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["pyramid_height", "pool", "engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["pyramid_height", "pool", "engine"]) -> None: ...

class V1LayerParameter(Message):
    LayerType: Final[_Enum]
    NONE: Final = 0
    ABSVAL: Final = 35
    ACCURACY: Final = 1
    ARGMAX: Final = 30
    BNLL: Final = 2
    CONCAT: Final = 3
    CONTRASTIVE_LOSS: Final = 37
    CONVOLUTION: Final = 4
    DATA: Final = 5
    DECONVOLUTION: Final = 39
    DROPOUT: Final = 6
    DUMMY_DATA: Final = 32
    EUCLIDEAN_LOSS: Final = 7
    ELTWISE: Final = 25
    EXP: Final = 38
    FLATTEN: Final = 8
    HDF5_DATA: Final = 9
    HDF5_OUTPUT: Final = 10
    HINGE_LOSS: Final = 28
    IM2COL: Final = 11
    IMAGE_DATA: Final = 12
    INFOGAIN_LOSS: Final = 13
    INNER_PRODUCT: Final = 14
    LRN: Final = 15
    MEMORY_DATA: Final = 29
    MULTINOMIAL_LOGISTIC_LOSS: Final = 16
    MVN: Final = 34
    POOLING: Final = 17
    POWER: Final = 26
    RELU: Final = 18
    SIGMOID: Final = 19
    SIGMOID_CROSS_ENTROPY_LOSS: Final = 27
    SILENCE: Final = 36
    SOFTMAX: Final = 20
    SOFTMAX_LOSS: Final = 21
    SPLIT: Final = 22
    SLICE: Final = 33
    TANH: Final = 23
    WINDOW_DATA: Final = 24
    THRESHOLD: Final = 31
    DimCheckMode: Final[_Enum]
    STRICT: Final = 0
    PERMISSIVE: Final = 1
    bottom: Final[_Scalars[str]]
    top: Final[_Scalars[str]]
    name: str
    include: Final[_Messages[NetStateRule]]
    exclude: Final[_Messages[NetStateRule]]
    type: int
    blobs: Final[_Messages[BlobProto]]
    param: Final[_Scalars[str]]
    blob_share_mode: Final[_Scalars[int]]
    blobs_lr: Final[_Scalars[float]]
    weight_decay: Final[_Scalars[float]]
    loss_weight: Final[_Scalars[float]]
    accuracy_param: Final[AccuracyParameter]
    argmax_param: Final[ArgMaxParameter]
    concat_param: Final[ConcatParameter]
    contrastive_loss_param: Final[ContrastiveLossParameter]
    convolution_param: Final[ConvolutionParameter]
    data_param: Final[DataParameter]
    dropout_param: Final[DropoutParameter]
    dummy_data_param: Final[DummyDataParameter]
    eltwise_param: Final[EltwiseParameter]
    exp_param: Final[ExpParameter]
    hdf5_data_param: Final[HDF5DataParameter]
    hdf5_output_param: Final[HDF5OutputParameter]
    hinge_loss_param: Final[HingeLossParameter]
    image_data_param: Final[ImageDataParameter]
    infogain_loss_param: Final[InfogainLossParameter]
    inner_product_param: Final[InnerProductParameter]
    lrn_param: Final[LRNParameter]
    memory_data_param: Final[MemoryDataParameter]
    mvn_param: Final[MVNParameter]
    pooling_param: Final[PoolingParameter]
    power_param: Final[PowerParameter]
    relu_param: Final[ReLUParameter]
    sigmoid_param: Final[SigmoidParameter]
    softmax_param: Final[SoftmaxParameter]
    slice_param: Final[SliceParameter]
    tanh_param: Final[TanHParameter]
    threshold_param: Final[ThresholdParameter]
    window_data_param: Final[WindowDataParameter]
    transform_param: Final[TransformationParameter]
    loss_param: Final[LossParameter]
    layer: Final[V0LayerParameter]
    def __init__(
        self,
        *,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        name: str | None = ...,
        include: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        exclude: Iterable[NetStateRule | Mapping[str, Any]] | None = ...,
        type: int | str | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        param: Iterable[str] | None = ...,
        blob_share_mode: Iterable[int | str] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        accuracy_param: AccuracyParameter | Mapping[str, Any] | None = ...,
        argmax_param: ArgMaxParameter | Mapping[str, Any] | None = ...,
        concat_param: ConcatParameter | Mapping[str, Any] | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | Mapping[str, Any] | None = ...,
        convolution_param: ConvolutionParameter | Mapping[str, Any] | None = ...,
        data_param: DataParameter | Mapping[str, Any] | None = ...,
        dropout_param: DropoutParameter | Mapping[str, Any] | None = ...,
        dummy_data_param: DummyDataParameter | Mapping[str, Any] | None = ...,
        eltwise_param: EltwiseParameter | Mapping[str, Any] | None = ...,
        exp_param: ExpParameter | Mapping[str, Any] | None = ...,
        hdf5_data_param: HDF5DataParameter | Mapping[str, Any] | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
        hinge_loss_param: HingeLossParameter | Mapping[str, Any] | None = ...,
        image_data_param: ImageDataParameter | Mapping[str, Any] | None = ...,
        infogain_loss_param: InfogainLossParameter | Mapping[str, Any] | None = ...,
        inner_product_param: InnerProductParameter | Mapping[str, Any] | None = ...,
        lrn_param: LRNParameter | Mapping[str, Any] | None = ...,
        memory_data_param: MemoryDataParameter | Mapping[str, Any] | None = ...,
        mvn_param: MVNParameter | Mapping[str, Any] | None = ...,
        pooling_param: PoolingParameter | Mapping[str, Any] | None = ...,
        power_param: PowerParameter | Mapping[str, Any] | None = ...,
        relu_param: ReLUParameter | Mapping[str, Any] | None = ...,
        sigmoid_param: SigmoidParameter | Mapping[str, Any] | None = ...,
        softmax_param: SoftmaxParameter | Mapping[str, Any] | None = ...,
        slice_param: SliceParameter | Mapping[str, Any] | None = ...,
        tanh_param: TanHParameter | Mapping[str, Any] | None = ...,
        threshold_param: ThresholdParameter | Mapping[str, Any] | None = ...,
        window_data_param: WindowDataParameter | Mapping[str, Any] | None = ...,
        transform_param: TransformationParameter | Mapping[str, Any] | None = ...,
        loss_param: LossParameter | Mapping[str, Any] | None = ...,
        layer: V0LayerParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["name", "type", "accuracy_param", "argmax_param", "concat_param", "contrastive_loss_param", "convolution_param", "data_param", "dropout_param", "dummy_data_param", "eltwise_param", "exp_param", "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "image_data_param", "infogain_loss_param", "inner_product_param", "lrn_param", "memory_data_param", "mvn_param", "pooling_param", "power_param", "relu_param", "sigmoid_param", "softmax_param", "slice_param", "tanh_param", "threshold_param", "window_data_param", "transform_param", "loss_param", "layer"]) -> bool: ...
    def ClearField(self, field_name: Literal["bottom", "top", "name", "include", "exclude", "type", "blobs", "param", "blob_share_mode", "blobs_lr", "weight_decay", "loss_weight", "accuracy_param", "argmax_param", "concat_param", "contrastive_loss_param", "convolution_param", "data_param", "dropout_param", "dummy_data_param", "eltwise_param", "exp_param", "hdf5_data_param", "hdf5_output_param", "hinge_loss_param", "image_data_param", "infogain_loss_param", "inner_product_param", "lrn_param", "memory_data_param", "mvn_param", "pooling_param", "power_param", "relu_param", "sigmoid_param", "softmax_param", "slice_param", "tanh_param", "threshold_param", "window_data_param", "transform_param", "loss_param", "layer"]) -> None: ...

class V0LayerParameter(Message):
    PoolMethod: Final[_Enum]
    MAX: Final = 0
    AVE: Final = 1
    STOCHASTIC: Final = 2
    name: str
    type: str
    num_output: int
    biasterm: bool
    weight_filler: Final[FillerParameter]
    bias_filler: Final[FillerParameter]
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    k: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    blobs: Final[_Messages[BlobProto]]
    blobs_lr: Final[_Scalars[float]]
    weight_decay: Final[_Scalars[float]]
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    hdf5_output_param: Final[HDF5OutputParameter]
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        num_output: int | None = ...,
        biasterm: bool | None = ...,
        weight_filler: FillerParameter | Mapping[str, Any] | None = ...,
        bias_filler: FillerParameter | Mapping[str, Any] | None = ...,
        pad: int | None = ...,
        kernelsize: int | None = ...,
        group: int | None = ...,
        stride: int | None = ...,
        pool: int | str | None = ...,
        dropout_ratio: float | None = ...,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        k: float | None = ...,
        source: str | None = ...,
        scale: float | None = ...,
        meanfile: str | None = ...,
        batchsize: int | None = ...,
        cropsize: int | None = ...,
        mirror: bool | None = ...,
        blobs: Iterable[BlobProto | Mapping[str, Any]] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        rand_skip: int | None = ...,
        det_fg_threshold: float | None = ...,
        det_bg_threshold: float | None = ...,
        det_fg_fraction: float | None = ...,
        det_context_pad: int | None = ...,
        det_crop_mode: str | None = ...,
        new_num: int | None = ...,
        new_channels: int | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        shuffle_images: bool | None = ...,
        concat_dim: int | None = ...,
        hdf5_output_param: HDF5OutputParameter | Mapping[str, Any] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["name", "type", "num_output", "biasterm", "weight_filler", "bias_filler", "pad", "kernelsize", "group", "stride", "pool", "dropout_ratio", "local_size", "alpha", "beta", "k", "source", "scale", "meanfile", "batchsize", "cropsize", "mirror", "rand_skip", "det_fg_threshold", "det_bg_threshold", "det_fg_fraction", "det_context_pad", "det_crop_mode", "new_num", "new_channels", "new_height", "new_width", "shuffle_images", "concat_dim", "hdf5_output_param"]) -> bool: ...
    def ClearField(self, field_name: Literal["name", "type", "num_output", "biasterm", "weight_filler", "bias_filler", "pad", "kernelsize", "group", "stride", "pool", "dropout_ratio", "local_size", "alpha", "beta", "k", "source", "scale", "meanfile", "batchsize", "cropsize", "mirror", "blobs", "blobs_lr", "weight_decay", "rand_skip", "det_fg_threshold", "det_bg_threshold", "det_fg_fraction", "det_context_pad", "det_crop_mode", "new_num", "new_channels", "new_height", "new_width", "shuffle_images", "concat_dim", "hdf5_output_param"]) -> None: ...

class PReLUParameter(Message):
    filler: Final[FillerParameter]
    channel_shared: bool
    def __init__(
        self,
        *,
        filler: FillerParameter | Mapping[str, Any] | None = ...,
        channel_shared: bool | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["filler", "channel_shared"]) -> bool: ...
    def ClearField(self, field_name: Literal["filler", "channel_shared"]) -> None: ...
