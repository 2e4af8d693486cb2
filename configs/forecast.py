"""Forecasts two days of a generated hourly series of three channels: no file is needed.

    python launch.py --config=configs/forecast.py --workdir=runs/forecast
    python launch.py --config=configs/forecast.py --workdir=runs/mine --config.data.name=csv \
      --config.data.files.train=mine.csv

SegRNN (Lin et al. 2023): a GRU reads the last two weeks in segments of a day, and predicts three quantiles.
31,272 parameters, 17 CPU seconds including compilation (30 s on two shared cores; 2026-11-28, jax 0.10.2, seed 0). Test
mean squared error 0.126, absolute 0.279, of standardised numbers; the seasonal-naive forecast, which repeats the last
week, has 0.211 and 0.363. 80.8 % of the numbers lie between the quantiles 0.1 and 0.9.
"""

from ml_collections import ConfigDict

from rnnlab.tasks.sequence.config import default_config


def get_config() -> ConfigDict:
    """Returns the config; for your own files see docs/forecasting.md."""
    config = default_config()
    config.data.update({"name": "generated", "answer": "forecast", "look_back": 336, "horizon": 48, "period": 168})
    config.model.update({"cell": "gru", "features": 64})
    config.model.forecast.update({"segment": 24, "quantiles": "0.1,0.5,0.9"})
    config.training.update({"steps": 1000, "batch_size": 32, "learning_rate": 3e-3, "best_metric": "mse"})
    config.training.update({"log_every": 100, "evaluate_every": 100, "checkpoint_every": 500, "measure_every": 0})
    return config
