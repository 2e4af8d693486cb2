"""A generated series to forecast, always the same: three channels of hourly values with a daily and a weekly season, a
trend, and autoregressive noise of order 1."""

import numpy as np

from rnnlab.data.sequences.examples import Examples, Request, Source

_ROWS, _DAY, _WEEK = 5000, 24, 168
_NAMES = ("first", "second", "third")
_CORRELATION = 0.8  # of the noise at neighbouring steps


def splits(_: list[Source]) -> set[str]:
    """Names the available splits."""
    return {"train"}


def read(_: Request, __: list[Source]) -> Examples:
    """Makes the series `[5000, 3]`."""
    random = np.random.RandomState(0)  # NumPy guarantees that its numbers never change
    hours, channels = np.arange(_ROWS)[:, None], len(_NAMES)
    series = 10 + random.uniform(-1, 1, channels) * hours / 1000
    for period in (_DAY, _WEEK):
        for harmonic in (1, 2):
            size, phase = random.uniform(0.5, 2, channels) / harmonic, random.uniform(0, 2 * np.pi, channels)
            series = series + size * np.sin(2 * np.pi * harmonic * hours / period + phase)
    noise = 0.3 * random.standard_normal((_ROWS, channels))
    for step in range(1, _ROWS):
        noise[step] += _CORRELATION * noise[step - 1]
    return Examples(
        [(series + noise).astype(np.float32)], None, None, places=lambda _: "the generated series", names=_NAMES
    )
