"""The fields of a config that the trainer reads, whatever the task."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Allowed, Fields, field
from rnnlab.errors import UserError

_SPIKE = Allowed("0 or above 1", lambda value: not 0 < value <= 1)  # 1 would skip half of all steps

TRAINING: Fields = {
    "steps": field(5000, "updates of the parameters", POSITIVE),
    "steps_per_call": field(
        1, "steps that one compiled call takes; steps and all intervals are multiples of it", POSITIVE
    ),
    "batch_size": field(64, "sequences, over all devices and processes together", POSITIVE),
    "model_parallel": field(
        1, "devices that share each large parameter; the batch is split over such groups", POSITIVE
    ),
    "optimizer": field("adam", "adam, adamw, adagrad, lion, momentum, nadam, nt_asgd, rmsprop or sgd"),
    "learning_rate": field(3e-3, "the highest one of the schedule", POSITIVE),
    "schedule": field("one_cycle", "constant, linear, one_cycle, warmup_cosine or inverse_sqrt"),
    "warmup_steps": field(0, "of warmup_cosine (below steps) and inverse_sqrt; 0: a tenth of the steps", NOT_NEGATIVE),
    "weight_decay": field(0.0, "of adamw, lion and nt_asgd", NOT_NEGATIVE),
    "clip_global_norm": field(1.0, "limit of the gradient's global norm; 0 disables", NOT_NEGATIVE),
    "clip_value": field(0.0, "limit of each entry of the gradient, instead; 0 disables", NOT_NEGATIVE),
    "init_from": field("", "work directory of a run whose parameters are taken where name and shape agree"),
    "freeze": field("", "paths of parameters that never change, * for any letters"),
    "intervention": field("default", "on every recurrence: those of rnnlab.gradient_flow.Treatment"),
    "spike": field(0.0, "skips a step whose loss is this many times the usual one; 0 disables", NOT_NEGATIVE, _SPIKE),
    "most_skipped": field(
        10, "steps in a row before the run returns to its last checkpoint, with other data", POSITIVE
    ),
    "most_returns": field(3, "such returns before the run gives up", NOT_NEGATIVE),
    "average_decay": field(0.0, "of the moving average of the parameters that is evaluated; 0 disables", RATE),
    "nonmonotone": field(
        5, "nt_asgd: evaluations; averages once validation is worse than the best before these", POSITIVE
    ),
    "log_every": field(100, "steps, after the first", POSITIVE),
    "evaluate_every": field(1000, "steps", POSITIVE),
    "checkpoint_every": field(
        500, "steps, beside those of evaluations; 0: only when the run ends or is asked to stop", NOT_NEGATIVE
    ),
    "measure_every": field(500, "steps between measurements of the gradient's flow; 0 disables", NOT_NEGATIVE),
    "best_metric": field("loss", "on validation, by which the best parameters are chosen"),
    "stopping_threshold": field(0.0, "value of best_metric at which the run ends; 0 disables", NOT_NEGATIVE),
    "patience": field(0, "evaluations without a new best before the run ends; 0 disables", NOT_NEGATIVE),
}
_INTERVALS = ("steps", "log_every", "evaluate_every", "checkpoint_every", "measure_every")


def check_intervals(training: ConfigDict) -> None:
    """Refuses intervals that would end within a call of several steps.

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
    "average": field(1, "best checkpoints whose mean is used, of as many kept", POSITIVE),
    "samples": field(10, "predictions printed at the end", NOT_NEGATIVE),
}
