"""ETTh1."""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config(horizon: str = "96") -> ConfigDict:
    """One recipe for every horizon."""
    config = default_config()
    config.data.update({"name": "csv", "answer": "forecast", "rows": "8640,2880,2880", "period": 24})
    config.data.files.train = "ETTh1.csv.gz"
    config.data.columns.time = ""
    config.data.update({"look_back": 720, "horizon": int(horizon or 96)})
    config.model.update({"cell": "gru", "features": 256, "output_dropout": 0.5})
    config.model.forecast.update({"segment": 48, "normalisation": "last", "decoding": "segments"})
    config.training.update({"loss": "absolute", "best_metric": "mse", "patience": 5, "batch_size": 256})
    config.training.update({"steps": 600, "learning_rate": 1e-3, "schedule": "one_cycle", "log_every": 30})
    config.training.update({"evaluate_every": 30, "checkpoint_every": 0, "measure_every": 0})
    config.evaluation.batch_size = 256
    return config
