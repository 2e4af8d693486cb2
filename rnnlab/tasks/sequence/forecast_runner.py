"""Continues series, one in JSON on each line: python run.py < series.jsonl. Needs only jax and numpy."""

import itertools
import json
import sys

import numpy as np
from exported import program, read, standardise


def look_back(rows, settings):
    """Returns the last steps of a series, standardised."""
    if len(rows) < settings["look_back"]:
        sys.exit(f"a series of {len(rows)} steps; the model reads {settings['look_back']}")
    return standardise(rows, settings)[-settings["look_back"] :]


def main():
    settings = read("runner.json")
    while lines := list(itertools.islice(sys.stdin, settings["batch_size"])):
        series = [look_back(np.array(json.loads(line), np.float64), settings) for line in lines]
        inputs = np.stack(series + series[:1] * (settings["batch_size"] - len(series)), axis=1)  # of one shape
        outputs = np.asarray(program("forward")(inputs)["outputs"], np.float64)  # [horizon, series, channels, numbers]
        found = outputs * settings["scale"] + settings["shift"]
        for own in np.moveaxis(found, 1, 0)[: len(series)]:
            print(json.dumps(own.reshape(len(own), -1)[:, settings["order"]].tolist()), flush=True)


if __name__ == "__main__":
    main()
