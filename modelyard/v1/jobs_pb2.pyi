import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from modelyard.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResultFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESULT_FORMAT_UNSPECIFIED: _ClassVar[ResultFormat]
    PARQUET: _ClassVar[ResultFormat]
    NPY: _ClassVar[ResultFormat]
RESULT_FORMAT_UNSPECIFIED: ResultFormat
PARQUET: ResultFormat
NPY: ResultFormat

class JobSpec(_message.Message):
    __slots__ = ("batch_inference", "training", "priority", "deadline_s", "max_attempts", "max_dead_rows")
    BATCH_INFERENCE_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_DEAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    batch_inference: BatchInference
    training: TrainingSpec
    priority: int
    deadline_s: float
    max_attempts: int
    max_dead_rows: int
    def __init__(self, batch_inference: _Optional[_Union[BatchInference, _Mapping]] = ..., training: _Optional[_Union[TrainingSpec, _Mapping]] = ..., priority: _Optional[int] = ..., deadline_s: _Optional[float] = ..., max_attempts: _Optional[int] = ..., max_dead_rows: _Optional[int] = ...) -> None: ...

class BatchInference(_message.Message):
    __slots__ = ("model", "version", "dataset", "columns", "cast", "output", "sharding")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    CAST_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SHARDING_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: str
    dataset: Dataset
    columns: _containers.RepeatedCompositeFieldContainer[InputColumns]
    cast: bool
    output: Output
    sharding: Sharding
    def __init__(self, model: _Optional[str] = ..., version: _Optional[str] = ..., dataset: _Optional[_Union[Dataset, _Mapping]] = ..., columns: _Optional[_Iterable[_Union[InputColumns, _Mapping]]] = ..., cast: bool = ..., output: _Optional[_Union[Output, _Mapping]] = ..., sharding: _Optional[_Union[Sharding, _Mapping]] = ...) -> None: ...

class Dataset(_message.Message):
    __slots__ = ("artifact", "url", "inline", "kind", "images")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    INLINE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    artifact: Artifact
    url: str
    inline: bytes
    kind: str
    images: ImageOptions
    def __init__(self, artifact: _Optional[_Union[Artifact, _Mapping]] = ..., url: _Optional[str] = ..., inline: _Optional[bytes] = ..., kind: _Optional[str] = ..., images: _Optional[_Union[ImageOptions, _Mapping]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("manifest_digest", "path")
    MANIFEST_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    manifest_digest: str
    path: str
    def __init__(self, manifest_digest: _Optional[str] = ..., path: _Optional[str] = ...) -> None: ...

class ImageOptions(_message.Message):
    __slots__ = ("resize", "crop", "scale", "mean", "std", "channels_first")
    RESIZE_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIRST_FIELD_NUMBER: _ClassVar[int]
    resize: _containers.RepeatedScalarFieldContainer[int]
    crop: _containers.RepeatedScalarFieldContainer[int]
    scale: float
    mean: _containers.RepeatedScalarFieldContainer[float]
    std: _containers.RepeatedScalarFieldContainer[float]
    channels_first: bool
    def __init__(self, resize: _Optional[_Iterable[int]] = ..., crop: _Optional[_Iterable[int]] = ..., scale: _Optional[float] = ..., mean: _Optional[_Iterable[float]] = ..., std: _Optional[_Iterable[float]] = ..., channels_first: bool = ...) -> None: ...

class InputColumns(_message.Message):
    __slots__ = ("input", "columns")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    input: str
    columns: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, input: _Optional[str] = ..., columns: _Optional[_Iterable[str]] = ...) -> None: ...

class Output(_message.Message):
    __slots__ = ("format", "key_column")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    format: ResultFormat
    key_column: str
    def __init__(self, format: _Optional[_Union[ResultFormat, str]] = ..., key_column: _Optional[str] = ...) -> None: ...

class Sharding(_message.Message):
    __slots__ = ("key_column", "shards")
    KEY_COLUMN_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    key_column: str
    shards: int
    def __init__(self, key_column: _Optional[str] = ..., shards: _Optional[int] = ...) -> None: ...

class TrainingSpec(_message.Message):
    __slots__ = ("model", "code", "data", "epochs", "steps", "batch_size", "accumulation", "precision", "seed", "parallelism", "min_workers", "max_workers", "checkpoints", "objective", "release", "resources", "resume_from", "stall_s")
    class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        PRECISION_UNSPECIFIED: _ClassVar[TrainingSpec.Precision]
        FP32: _ClassVar[TrainingSpec.Precision]
        BF16: _ClassVar[TrainingSpec.Precision]
    PRECISION_UNSPECIFIED: TrainingSpec.Precision
    FP32: TrainingSpec.Precision
    BF16: TrainingSpec.Precision
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ACCUMULATION_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARALLELISM_FIELD_NUMBER: _ClassVar[int]
    MIN_WORKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_WORKERS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    RESUME_FROM_FIELD_NUMBER: _ClassVar[int]
    STALL_S_FIELD_NUMBER: _ClassVar[int]
    model: str
    code: TrainingCode
    data: TrainingData
    epochs: int
    steps: int
    batch_size: int
    accumulation: int
    precision: TrainingSpec.Precision
    seed: int
    parallelism: Parallelism
    min_workers: int
    max_workers: int
    checkpoints: Checkpoints
    objective: Objective
    release: Release
    resources: _types_pb2.Resources
    resume_from: str
    stall_s: float
    def __init__(self, model: _Optional[str] = ..., code: _Optional[_Union[TrainingCode, _Mapping]] = ..., data: _Optional[_Union[TrainingData, _Mapping]] = ..., epochs: _Optional[int] = ..., steps: _Optional[int] = ..., batch_size: _Optional[int] = ..., accumulation: _Optional[int] = ..., precision: _Optional[_Union[TrainingSpec.Precision, str]] = ..., seed: _Optional[int] = ..., parallelism: _Optional[_Union[Parallelism, _Mapping]] = ..., min_workers: _Optional[int] = ..., max_workers: _Optional[int] = ..., checkpoints: _Optional[_Union[Checkpoints, _Mapping]] = ..., objective: _Optional[_Union[Objective, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., resources: _Optional[_Union[_types_pb2.Resources, _Mapping]] = ..., resume_from: _Optional[str] = ..., stall_s: _Optional[float] = ...) -> None: ...

class TrainingCode(_message.Message):
    __slots__ = ("artifact", "entry", "parameters", "max_restarts")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MAX_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    artifact: Artifact
    entry: str
    parameters: _containers.RepeatedCompositeFieldContainer[TrainingParameter]
    max_restarts: int
    def __init__(self, artifact: _Optional[_Union[Artifact, _Mapping]] = ..., entry: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[TrainingParameter, _Mapping]]] = ..., max_restarts: _Optional[int] = ...) -> None: ...

class TrainingParameter(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class TrainingData(_message.Message):
    __slots__ = ("dataset", "validation", "held_out", "features", "target", "balanced")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    BALANCED_FIELD_NUMBER: _ClassVar[int]
    dataset: Dataset
    validation: Dataset
    held_out: float
    features: _containers.RepeatedScalarFieldContainer[str]
    target: str
    balanced: bool
    def __init__(self, dataset: _Optional[_Union[Dataset, _Mapping]] = ..., validation: _Optional[_Union[Dataset, _Mapping]] = ..., held_out: _Optional[float] = ..., features: _Optional[_Iterable[str]] = ..., target: _Optional[str] = ..., balanced: bool = ...) -> None: ...

class Parallelism(_message.Message):
    __slots__ = ("data", "shard", "tensor", "pipeline")
    DATA_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    data: int
    shard: int
    tensor: int
    pipeline: int
    def __init__(self, data: _Optional[int] = ..., shard: _Optional[int] = ..., tensor: _Optional[int] = ..., pipeline: _Optional[int] = ...) -> None: ...

class Checkpoints(_message.Message):
    __slots__ = ("every_steps", "every_s", "keep_last")
    EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVERY_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_LAST_FIELD_NUMBER: _ClassVar[int]
    every_steps: int
    every_s: float
    keep_last: int
    def __init__(self, every_steps: _Optional[int] = ..., every_s: _Optional[float] = ..., keep_last: _Optional[int] = ...) -> None: ...

class Objective(_message.Message):
    __slots__ = ("metric", "higher_is_better", "patience", "min_delta")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    HIGHER_IS_BETTER_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    MIN_DELTA_FIELD_NUMBER: _ClassVar[int]
    metric: str
    higher_is_better: bool
    patience: int
    min_delta: float
    def __init__(self, metric: _Optional[str] = ..., higher_is_better: bool = ..., patience: _Optional[int] = ..., min_delta: _Optional[float] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("alias", "deploy", "if_better")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    DEPLOY_FIELD_NUMBER: _ClassVar[int]
    IF_BETTER_FIELD_NUMBER: _ClassVar[int]
    alias: str
    deploy: bool
    if_better: bool
    def __init__(self, alias: _Optional[str] = ..., deploy: bool = ..., if_better: bool = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "tenant", "spec", "state", "reason", "create_time", "start_time", "end_time", "progress", "usage", "version", "measurements", "traceback", "checkpoint")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Job.State]
        QUEUED: _ClassVar[Job.State]
        PLANNING: _ClassVar[Job.State]
        RUNNING: _ClassVar[Job.State]
        PAUSED: _ClassVar[Job.State]
        FINISHING: _ClassVar[Job.State]
        CANCELLING: _ClassVar[Job.State]
        SUCCEEDED: _ClassVar[Job.State]
        PARTIALLY_SUCCEEDED: _ClassVar[Job.State]
        FAILED: _ClassVar[Job.State]
        CANCELLED: _ClassVar[Job.State]
    STATE_UNSPECIFIED: Job.State
    QUEUED: Job.State
    PLANNING: Job.State
    RUNNING: Job.State
    PAUSED: Job.State
    FINISHING: Job.State
    CANCELLING: Job.State
    SUCCEEDED: Job.State
    PARTIALLY_SUCCEEDED: Job.State
    FAILED: Job.State
    CANCELLED: Job.State
    ID_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENTS_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    id: str
    tenant: str
    spec: JobSpec
    state: Job.State
    reason: str
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    progress: JobProgress
    usage: JobUsage
    version: str
    measurements: _containers.RepeatedCompositeFieldContainer[Measurement]
    traceback: str
    checkpoint: Checkpoint
    def __init__(self, id: _Optional[str] = ..., tenant: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., state: _Optional[_Union[Job.State, str]] = ..., reason: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., usage: _Optional[_Union[JobUsage, _Mapping]] = ..., version: _Optional[str] = ..., measurements: _Optional[_Iterable[_Union[Measurement, _Mapping]]] = ..., traceback: _Optional[str] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("digest", "step", "epoch", "offset")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    digest: str
    step: int
    epoch: int
    offset: int
    def __init__(self, digest: _Optional[str] = ..., step: _Optional[int] = ..., epoch: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("rows", "done_rows", "dead_rows", "tasks", "queued_tasks", "running_tasks", "done_tasks", "retries", "workers", "rows_per_second", "estimated_end_time", "training")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    DONE_ROWS_FIELD_NUMBER: _ClassVar[int]
    DEAD_ROWS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_TASKS_FIELD_NUMBER: _ClassVar[int]
    RUNNING_TASKS_FIELD_NUMBER: _ClassVar[int]
    DONE_TASKS_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_END_TIME_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    rows: int
    done_rows: int
    dead_rows: int
    tasks: int
    queued_tasks: int
    running_tasks: int
    done_tasks: int
    retries: int
    workers: _containers.RepeatedScalarFieldContainer[str]
    rows_per_second: float
    estimated_end_time: _timestamp_pb2.Timestamp
    training: TrainingProgress
    def __init__(self, rows: _Optional[int] = ..., done_rows: _Optional[int] = ..., dead_rows: _Optional[int] = ..., tasks: _Optional[int] = ..., queued_tasks: _Optional[int] = ..., running_tasks: _Optional[int] = ..., done_tasks: _Optional[int] = ..., retries: _Optional[int] = ..., workers: _Optional[_Iterable[str]] = ..., rows_per_second: _Optional[float] = ..., estimated_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., training: _Optional[_Union[TrainingProgress, _Mapping]] = ...) -> None: ...

class TrainingProgress(_message.Message):
    __slots__ = ("step", "steps", "epoch", "epochs", "samples_per_second", "members", "min_workers", "max_workers", "checkpoint_step", "estimated_end_time", "checkpoint_failure")
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    MIN_WORKERS_FIELD_NUMBER: _ClassVar[int]
    MAX_WORKERS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_STEP_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_END_TIME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FAILURE_FIELD_NUMBER: _ClassVar[int]
    step: int
    steps: int
    epoch: int
    epochs: int
    samples_per_second: float
    members: _containers.RepeatedScalarFieldContainer[str]
    min_workers: int
    max_workers: int
    checkpoint_step: int
    estimated_end_time: _timestamp_pb2.Timestamp
    checkpoint_failure: str
    def __init__(self, step: _Optional[int] = ..., steps: _Optional[int] = ..., epoch: _Optional[int] = ..., epochs: _Optional[int] = ..., samples_per_second: _Optional[float] = ..., members: _Optional[_Iterable[str]] = ..., min_workers: _Optional[int] = ..., max_workers: _Optional[int] = ..., checkpoint_step: _Optional[int] = ..., estimated_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checkpoint_failure: _Optional[str] = ...) -> None: ...

class Measurement(_message.Message):
    __slots__ = ("step", "values")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    STEP_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    step: int
    values: _containers.ScalarMap[str, float]
    def __init__(self, step: _Optional[int] = ..., values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class JobUsage(_message.Message):
    __slots__ = ("rows", "tasks", "compute_s")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_S_FIELD_NUMBER: _ClassVar[int]
    rows: int
    tasks: int
    compute_s: float
    def __init__(self, rows: _Optional[int] = ..., tasks: _Optional[int] = ..., compute_s: _Optional[float] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("request_id", "spec")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    spec: JobSpec
    def __init__(self, request_id: _Optional[str] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("states", "model", "tenant", "page_size", "page_token")
    STATES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[Job.State]
    model: str
    tenant: str
    page_size: int
    page_token: str
    def __init__(self, states: _Optional[_Iterable[_Union[Job.State, str]]] = ..., model: _Optional[str] = ..., tenant: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("id", "after_event")
    ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_EVENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    after_event: int
    def __init__(self, id: _Optional[str] = ..., after_event: _Optional[int] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("kind", "event", "time", "job", "task", "measurements")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[WatchJobResponse.Kind]
        SNAPSHOT: _ClassVar[WatchJobResponse.Kind]
        STATE: _ClassVar[WatchJobResponse.Kind]
        PROGRESS: _ClassVar[WatchJobResponse.Kind]
        TASK_DONE: _ClassVar[WatchJobResponse.Kind]
        TASK_RETRY: _ClassVar[WatchJobResponse.Kind]
        TASK_RECOVERED: _ClassVar[WatchJobResponse.Kind]
        TASK_SPLIT: _ClassVar[WatchJobResponse.Kind]
        TASK_DEAD: _ClassVar[WatchJobResponse.Kind]
        TASK_REVIVED: _ClassVar[WatchJobResponse.Kind]
        TASK_STARTED: _ClassVar[WatchJobResponse.Kind]
    KIND_UNSPECIFIED: WatchJobResponse.Kind
    SNAPSHOT: WatchJobResponse.Kind
    STATE: WatchJobResponse.Kind
    PROGRESS: WatchJobResponse.Kind
    TASK_DONE: WatchJobResponse.Kind
    TASK_RETRY: WatchJobResponse.Kind
    TASK_RECOVERED: WatchJobResponse.Kind
    TASK_SPLIT: WatchJobResponse.Kind
    TASK_DEAD: WatchJobResponse.Kind
    TASK_REVIVED: WatchJobResponse.Kind
    TASK_STARTED: WatchJobResponse.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MEASUREMENTS_FIELD_NUMBER: _ClassVar[int]
    kind: WatchJobResponse.Kind
    event: int
    time: _timestamp_pb2.Timestamp
    job: Job
    task: JobTask
    measurements: _containers.RepeatedCompositeFieldContainer[Measurement]
    def __init__(self, kind: _Optional[_Union[WatchJobResponse.Kind, str]] = ..., event: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., job: _Optional[_Union[Job, _Mapping]] = ..., task: _Optional[_Union[JobTask, _Mapping]] = ..., measurements: _Optional[_Iterable[_Union[Measurement, _Mapping]]] = ...) -> None: ...

class JobTask(_message.Message):
    __slots__ = ("id", "begin", "end", "worker", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    begin: int
    end: int
    worker: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., begin: _Optional[int] = ..., end: _Optional[int] = ..., worker: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class PauseJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ResumeJobRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetResultsRequest(_message.Message):
    __slots__ = ("id", "output", "offset", "length", "etag")
    ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    id: str
    output: str
    offset: int
    length: int
    etag: str
    def __init__(self, id: _Optional[str] = ..., output: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., etag: _Optional[str] = ...) -> None: ...

class ResultsHeader(_message.Message):
    __slots__ = ("format", "size_bytes", "rows", "complete", "etag")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    format: ResultFormat
    size_bytes: int
    rows: int
    complete: bool
    etag: str
    def __init__(self, format: _Optional[_Union[ResultFormat, str]] = ..., size_bytes: _Optional[int] = ..., rows: _Optional[int] = ..., complete: bool = ..., etag: _Optional[str] = ...) -> None: ...

class GetResultsResponse(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: ResultsHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[ResultsHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("task", "row", "reason", "failures", "deaths")
    TASK_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    DEATHS_FIELD_NUMBER: _ClassVar[int]
    task: str
    row: int
    reason: str
    failures: int
    deaths: int
    def __init__(self, task: _Optional[str] = ..., row: _Optional[int] = ..., reason: _Optional[str] = ..., failures: _Optional[int] = ..., deaths: _Optional[int] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("id", "page_size", "page_token")
    ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    page_size: int
    page_token: str
    def __init__(self, id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("letters", "next_page_token")
    LETTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    next_page_token: str
    def __init__(self, letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryDeadLettersRequest(_message.Message):
    __slots__ = ("id", "tasks")
    ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    id: str
    tasks: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., tasks: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryDeadLettersResponse(_message.Message):
    __slots__ = ("retried",)
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    retried: int
    def __init__(self, retried: _Optional[int] = ...) -> None: ...
