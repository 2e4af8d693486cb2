"""The fields of a config that the trainer reads, for every task."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Allowed, Fields, field
from rnnlab.errors import UserError
from rnnlab.training.sharding import DEFAULT_RULES

_SPIKE = Allowed("0 or above 1", lambda value: not 0 < value <= 1)  # 1 would skip half of all steps
_PRECISION = Allowed("default, high or highest", lambda value: value in ("default", "high", "highest"))

TRAINING: Fields = {
    "steps": field(5000, "updates of the parameters", POSITIVE),
    "matmul_precision": field(
        "default",
        "of float32 products of steps and scores: default (on a GPU TF32, on a TPU bfloat16), high, highest (float32)",
        _PRECISION,
    ),
    "steps_per_call": field(1, "steps per compiled call; steps and all intervals must be multiples of it", POSITIVE),
    "batch_size": field(64, "sequences, total over all devices and processes", POSITIVE),
    "accumulate": field(1, "micro-batches whose gradients a step sums; each draws its own dropout masks", POSITIVE),
    "model_parallel": field(
        1, "devices that share each large parameter; the batch is sharded over such groups", POSITIVE
    ),
    "sharding": field(DEFAULT_RULES, "rules pattern=axis,axis, the first that matches a parameter's name splits it"),
    "generator": field(
        "rbg",
        "of dropout masks and samples: rbg, fast, but each device draws the masks of all rows; or threefry2x32",
        Allowed("rbg or threefry2x32", lambda value: value in ("rbg", "threefry2x32")),
    ),
    "shard_optimizer": field(False, "split the optimizer's state over the devices that share a batch (ZeRO-1)"),
    "optimizer": field("adam", "adam, adamw, adagrad, lion, momentum, nadam, nt_asgd, rmsprop or sgd"),
    "learning_rate": field(3e-3, "peak of the schedule", POSITIVE),
    "schedule": field("one_cycle", "constant, linear, one_cycle, warmup_cosine or inverse_sqrt"),
    "schedule_steps": field(0, "length of the schedule, at least steps; 0: steps", NOT_NEGATIVE),
    "warmup_steps": field(0, "of warmup_cosine (below steps) and inverse_sqrt; 0: a tenth of the steps", NOT_NEGATIVE),
    "weight_decay": field(0.0, "for adamw, lion and nt_asgd", NOT_NEGATIVE),
    "clip_global_norm": field(1.0, "limit of the gradient's global norm; 0 disables it", NOT_NEGATIVE),
    "clip_value": field(0.0, "limit of each entry of the gradient, instead of its norm; 0 disables it", NOT_NEGATIVE),
    "init_from": field("", "work directory of a run to copy parameters from, where name and shape agree"),
    "freeze": field("", "paths of parameters that never change; * matches any letters"),
    "intervention": field("default", "interventions on every recurrence, as in rnnlab.gradient_flow.Treatment"),
    "spike": field(0.0, "skips steps with this many times the usual loss; 0 disables it", NOT_NEGATIVE, _SPIKE),
    "most_skipped": field(
        10, "skipped steps in a row before the run returns to its last checkpoint, with other data", POSITIVE
    ),
    "most_returns": field(3, "such returns before the run stops", NOT_NEGATIVE),
    "average_decay": field(0.0, "decay of the evaluated moving average of the parameters; 0 disables it", RATE),
    "nonmonotone": field(
        5, "nt_asgd: averages once validation is worse than the best before this many evaluations", POSITIVE
    ),
    "log_every": field(100, "steps between log lines", POSITIVE),
    "evaluate_every": field(1000, "steps", POSITIVE),
    "checkpoint_every": field(
        500, "steps, in addition to evaluations; 0: only when the run ends or is asked to stop", NOT_NEGATIVE
    ),
    "measure_every": field(500, "steps between measurements of the gradient flow; 0 disables them", NOT_NEGATIVE),
    "tracker": field("", "where scalars are sent in addition: wandb, mlflow or file.py:NAME", own=True),
    "best_metric": field("loss", "validation metric that selects the best parameters"),
    "stopping_threshold": field(0.0, "value of best_metric at which the run ends; 0 disables it", NOT_NEGATIVE),
    "patience": field(0, "evaluations without a new best before the run ends; 0 disables it", NOT_NEGATIVE),
}
_INTERVALS = ("steps", "log_every", "evaluate_every", "checkpoint_every", "measure_every")


def check_intervals(training: ConfigDict) -> None:
    """Refuses intervals that are not multiples of `steps_per_call`.

    Raises:
      UserError: names the field.
    """
    for name in _INTERVALS:
        if training[name] % training.steps_per_call:
            raise UserError(
                f"config.training.{name}: {training[name]} is not a multiple of config.training.steps_per_call="
                f"{training.steps_per_call}"
            )


EVALUATION: Fields = {
    "batch_size": field(256, "sequences", POSITIVE),
    "average": field(1, "number of best checkpoints to keep and to average", POSITIVE),
    "samples": field(10, "predictions printed at the end", NOT_NEGATIVE),
}
