"""ETTh1, hourly loads and oil temperature of a transformer: forecasts seven channels for 96, 192, 336 or 720 hours.

    python launch.py --config=configs/etth1.py:96 --workdir=runs/etth1 --config.data.directory=FOLDER

`FOLDER` has `ETTh1.csv.gz`; the splits have the usual rows. SegRNN (Lin et al. 2023) with one recipe for all horizons:
a GRU of 512 reads the last 30 days of each channel separately in segments of two days, minus the last value; trained by
absolute error, with averaged parameters, best evaluation selected by squared error on validation. Test squared error at
96, 192, 336 and 720, mean of three seeds: 0.360, 0.404, 0.437, 0.446, 7 to 8 minutes each on one core
(`docs/results.md` also explains the choices).
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config(horizon: str = "96") -> ConfigDict:
    """Returns the config for a horizon in hours; all else is the same for every horizon."""
    config = default_config()
    config.data.update({"name": "csv", "answer": "forecast", "rows": "8640,2880,2880", "period": 24})
    config.data.files.train = "ETTh1.csv.gz"
    config.data.update({"look_back": 720, "horizon": int(horizon or 96)})
    config.model.update({"cell": "gru", "features": 512, "output_dropout": 0.5})
    config.model.forecast.update({"segment": 48, "normalisation": "last", "decoding": "segments"})
    config.training.update({"loss": "absolute", "best_metric": "mse", "batch_size": 32, "average_decay": 0.98})
    config.training.update({"steps": 400, "learning_rate": 1e-3, "patience": 8, "evaluate_every": 25})
    config.training.update({"log_every": 100, "checkpoint_every": 100, "measure_every": 0})
    return config
