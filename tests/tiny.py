"""A run that spells words, trained in seconds; as a config file, `--config=tests/tiny.py:<folder of its data>`."""

import os
import pathlib
import random
import socket
import subprocess
import sys

from ml_collections import ConfigDict

from rnnlab.tasks.seq2seq.config import default_config

ROOT = pathlib.Path(__file__).parents[1]
PHONES = {letter: letter.upper() for letter in "abcdef"} | {"g": "G G"}
SPLITS = {"train": 300, "validation": 40, "test": 50}


def write_data(folder: pathlib.Path) -> None:
    """The words and how they are spoken, a file for each split."""
    for seed, (split, number) in enumerate(SPLITS.items()):
        rng = random.Random(seed)
        words = ["".join(rng.choices("abcdefg", k=rng.randint(1, 6))) for _ in range(number)]
        text = "".join(f"{word}\t{' '.join(PHONES[c] for c in word)}\n" for word in words)
        (folder / f"{split}.tsv").write_text(text, encoding="utf-8")


def get_config(folder: str) -> ConfigDict:
    """The config of such a run."""
    config = default_config()
    config.data.update({"name": "parallel_text", "prepared": f"{folder}/tfds", "buckets": 1})
    config.data.files.update({split: f"{folder}/{split}.tsv" for split in SPLITS})
    config.model.encoder.update({"features": 16, "embedding": 8, "dropout": 0.1})
    config.model.decoder.update({"features": 24, "embedding": 8, "dropout": 0.1})
    config.training.update(
        {"steps": 40, "batch_size": 32, "log_every": 5, "evaluate_every": 20, "checkpoint_every": 10}
    )
    config.evaluation.update({"batch_size": 16, "beam_size": 2, "samples": 0})
    return config


def launch(*arguments: object, devices: int = 1, **options) -> subprocess.Popen:
    """Starts `launch.py` on so many simulated devices; `options` are those of Popen."""
    # with the scheduler that XLA would take, simulated devices wait for each other for ever (docs/reliability.md)
    scheduler = "--xla_cpu_enable_concurrency_optimized_scheduler=false" if devices > 1 else ""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices} {scheduler}"
    environment = os.environ | {"XLA_FLAGS": flags}
    command = [sys.executable, str(ROOT / "launch.py"), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **(pipes | options))


def train(data: pathlib.Path, workdir: pathlib.Path, *flags: object, **options) -> subprocess.Popen:
    """Starts such a run."""
    return launch(f"--config={__file__}:{data}", f"--workdir={workdir}", *flags, **options)


def train_together(data: pathlib.Path, workdir: pathlib.Path, *flags: object, processes: int) -> list[subprocess.Popen]:
    """Starts such a run of several processes on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    own = [(f"--coordinator={address}", f"--processes={processes}", f"--process={i}") for i in range(processes)]
    return [train(data, workdir, *flags, *which) for which in own]
