"""The fields of a config that the trainer reads, whatever the task."""

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Allowed, Fields, field

_SPIKE = Allowed("0 or above 1", lambda value: not 0 < value <= 1)  # 1 would skip half of all steps

TRAINING: Fields = {
    "steps": field(5000, "updates of the parameters", POSITIVE),
    "batch_size": field(64, "sequences, over all devices and processes together", POSITIVE),
    "model_parallel": field(
        1, "devices that share each large parameter; the batch is split over such groups", POSITIVE
    ),
    "optimizer": field("adam", "adam, adamw, adagrad, lion, momentum, nadam, rmsprop or sgd"),
    "learning_rate": field(3e-3, "the highest one of the schedule", POSITIVE),
    "schedule": field("one_cycle", "constant, linear, one_cycle, warmup_cosine or inverse_sqrt"),
    "warmup_steps": field(0, "of warmup_cosine (below steps) and inverse_sqrt; 0: a tenth of the steps", NOT_NEGATIVE),
    "weight_decay": field(0.0, "of adamw and lion", NOT_NEGATIVE),
    "clip_global_norm": field(1.0, "limit of the gradient's global norm; 0 disables", NOT_NEGATIVE),
    "clip_value": field(0.0, "limit of each entry of the gradient, instead; 0 disables", NOT_NEGATIVE),
    "init_from": field("", "work directory of a run whose parameters are taken where name and shape agree"),
    "freeze": field("", "paths of parameters that never change, * for any letters"),
    "intervention": field("default", "on every recurrence: those of rnnlab.gradient_flow.Treatment but flossing"),
    "spike": field(0.0, "skips a step whose loss is this many times the usual one; 0 disables", NOT_NEGATIVE, _SPIKE),
    "most_skipped": field(
        10, "steps in a row before the run returns to its last checkpoint, with other data", POSITIVE
    ),
    "most_returns": field(3, "such returns before the run gives up", NOT_NEGATIVE),
    "average_decay": field(0.0, "of the moving average of the parameters that is evaluated; 0 disables", RATE),
    "log_every": field(100, "steps", POSITIVE),
    "evaluate_every": field(1000, "steps", POSITIVE),
    "checkpoint_every": field(500, "steps", POSITIVE),
    "measure_every": field(500, "steps between measurements of the gradient's flow; 0 disables", NOT_NEGATIVE),
    "best_metric": field("loss", "on validation, by which the best parameters are chosen"),
    "patience": field(0, "evaluations without a new best before the run ends; 0 disables", NOT_NEGATIVE),
}
EVALUATION: Fields = {
    "batch_size": field(256, "sequences", POSITIVE),
    "average": field(1, "best checkpoints whose mean is used, of as many kept", POSITIVE),
    "samples": field(10, "predictions printed at the end", NOT_NEGATIVE),
}
