"""Runs that are killed, damaged, starved of disk, moved between machines, and bereft of their peers."""

import csv
import json
import pathlib
import random
import re
import shutil
import subprocess
import time

import jax
import numpy as np

from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import TrainState, split_model
from rnnlab.training.workdir import open_task
from tests import tiny

_OFTEN = ("--config.training.checkpoint_every=2", "--config.training.log_every=2")
_STEADY = ("--config.training.schedule=constant",)


def kills(folder: pathlib.Path, times: int = 20) -> str:
    """`kill -9` at random moments, as many in start and saving as in training; the ends are compared bit for bit."""
    data = _data(folder)
    seconds = -time.monotonic()
    _finish(tiny.train(data, folder / "alone", *_OFTEN))
    seconds += time.monotonic()
    wanted, same, saving = final_state(folder / "alone"), 0, 0
    rng = random.Random(0)
    for number in range(times):
        workdir, deaths = folder / f"killed_{number}", 0
        while deaths < 2:
            process = tiny.train(data, workdir, *_OFTEN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if number % 2:  # at a step, to the millisecond: every second one of them is saving
                _await_checkpoint(workdir, process)
                time.sleep(rng.uniform(0, 0.3))
            else:
                time.sleep(rng.uniform(0, seconds))
            process.kill()
            process.wait()
            deaths += 1
            saving += bool(list(workdir.glob("*/*tmp*")))
        _finish(tiny.train(data, workdir, *_OFTEN))
        same += _equal(final_state(workdir), wanted)
        shutil.rmtree(workdir)
    return f"{same} of {times} bit-identical after two kills each; {saving} of the {2 * times} kills left a half save"


def _await_checkpoint(workdir: pathlib.Path, process: subprocess.Popen) -> None:
    before = set(workdir.glob("checkpoints/*"))
    while set(workdir.glob("checkpoints/*")) <= before and process.poll() is None:
        time.sleep(0.002)


def damage(folder: pathlib.Path) -> str:
    """Each file of the newest checkpoint removed, cut, or with one bit flipped, in turn."""
    data = _data(folder)
    _finish(tiny.train(data, folder / "run"))
    newest = max(int(path.name) for path in (folder / "run" / "checkpoints").iterdir() if path.name.isdigit())
    truth = {step: final_state(folder / "run", step) for step in _steps(folder / "run")}
    ways = {"removed": pathlib.Path.unlink, "cut": _cut, "flipped": _flip}
    counts = {"whole": 0, "the one before": 0, "wrong": 0}
    files = [p for p in (folder / "run" / "checkpoints" / str(newest)).rglob("*") if p.is_file()]
    for harm in ways.values():
        for file in files:
            copy = folder / "copy"
            shutil.copytree(folder / "run", copy)
            harm(copy / file.relative_to(folder / "run"))
            step, state = restored(copy)
            right = _equal(state, truth[step])
            counts["wrong" if not right else "whole" if step == newest else "the one before"] += 1
            shutil.rmtree(copy)
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    return f"{len(files)} files x {len(ways)} ways: {told}"


def _cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


def full_disk(folder: pathlib.Path) -> str:
    """A small file system that is filled while a run saves in it, and emptied again (needs the right to mount one)."""
    data, disk = _data(folder), folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=True)
    try:
        workdir = disk / "run"
        flags = ("--config.training.steps=2000", "--config.training.checkpoint_every=20")
        process = tiny.train(data, workdir, *flags)
        said = _lines_until(process, "step    100  train")
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"0" * 2**16):
                    pass
            except OSError:
                pass
        said += _lines_until(process, "could not be saved")
        kept = restored(workdir, reading=True)[0]
        (disk / "ballast").unlink()
        more = process.communicate()[1].splitlines()
        rows = {int(row["step"]) for row in csv.DictReader((workdir / "metrics.csv").open()) if row["split"] == "train"}
        last, _ = restored(workdir)
        message = next(line for line in said[::-1] if "could not be saved" in line)
        whole = len(rows) == 2000 // 5
        return (
            f"status {process.returncode}; while full, step {kept} could be restored; after, it ended at step {last} "
            f"with {'every' if whole else 'not every'} row of metrics.csv; warning: {re.sub('/.*/', '', message)!r} "
            f"({sum('could not be saved' in line for line in said + more)} times)"
        )
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def losses(folder: pathlib.Path) -> str:
    """The same run on 1, 2 and 8 devices, 8 with parameters split in 2, and 2 processes: the largest difference."""
    data, found = _data(folder), {}
    for name in _MACHINES:
        _finish(*_on(name, data, folder / name, *_STEADY))
        found[name] = _losses(folder / name)
    far = {
        name: max(abs(each[at] - found["1 device"][at]) for at in found["1 device"])
        for name, each in found.items()
        if name != "1 device"
    }
    return "; ".join(f"{name}: {value:.1e}" for name, value in far.items()) + f" nats, {len(found['1 device'])} losses"


def restores(folder: pathlib.Path) -> str:
    """Each of those resumes from the checkpoint of each other; the largest difference of a loss, or of a parameter
    where it only reads."""
    data, furthest, pairs = _data(folder), 0.0, 0
    _finish(*_on("1 device", data, folder / "alone", *_STEADY))
    wanted = _losses(folder / "alone")
    for begin in _MACHINES:
        start = folder / begin
        _finish(*_on(begin, data, start, *_STEADY, "--config.training.steps=20"))
        for end in _MACHINES:
            shutil.copytree(start, folder / "moved")
            _finish(*_on(end, data, folder / "moved", *_STEADY))
            found = _losses(folder / "moved")
            furthest = max(furthest, *(abs(found[at] - wanted[at]) for at in wanted))
            pairs += 1
            shutil.rmtree(folder / "moved")
    return f"{pairs} of {len(_MACHINES) ** 2} pairs; furthest from a run on one device: {furthest:.1e} nats"


def lost_peers(folder: pathlib.Path) -> str:
    """One of two processes is killed; the pair starts again, and is compared with a pair that was left alone."""
    data = _data(folder)
    _finish(*_on("2 processes", data, folder / "alone", *_OFTEN))
    wanted, told = final_state(folder / "alone"), []
    for victim in (0, 1):
        workdir = folder / f"lost_{victim}"
        pair = _on("2 processes", data, workdir, *_OFTEN)
        _lines_until(pair[0], "step     20  train")
        pair[victim].kill()
        started = time.monotonic()
        said = pair[1 - victim].communicate()[1]
        seconds = time.monotonic() - started
        named = f"process {victim} of 2 is lost" in said.splitlines()[-1]
        pair[victim].communicate()
        _finish(*_on("2 processes", data, workdir, *_OFTEN))
        same = "bit-identical" if _equal(final_state(workdir), wanted) else "NOT identical"
        told.append(f"{victim} killed: the other ended after {seconds:.1f} s, {'' if named else 'NOT '}named; {same}")
    return "; ".join(told)


_MACHINES: dict[str, dict] = {
    "1 device": {"devices": 1},
    "2 devices": {"devices": 2},
    "8 devices": {"devices": 8},
    "8 devices in pairs": {"devices": 8, "flags": ("--config.training.model_parallel=2",)},
    "2 processes": {"processes": 2},
}


def _on(name: str, data: pathlib.Path, workdir: pathlib.Path, *flags: str) -> list[subprocess.Popen]:
    machine = _MACHINES[name]
    if "processes" in machine:
        return tiny.train_together(data, workdir, *flags, processes=machine["processes"])
    return [tiny.train(data, workdir, *flags, *machine.get("flags", ()), devices=machine["devices"])]


def _data(folder: pathlib.Path) -> pathlib.Path:
    data = folder / "data"
    data.mkdir()
    tiny.write_data(data)
    return data


def _finish(*processes: subprocess.Popen) -> None:
    said = [process.communicate()[1] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("a run failed:\n" + "\n".join(text or "" for text in said))


def _lines_until(process: subprocess.Popen, mark: str) -> list[str]:
    lines: list[str] = []
    for line in process.stderr or ():
        lines.append(line.rstrip())
        if mark in line:
            break
    return lines


def _steps(workdir: pathlib.Path) -> list[int]:
    return [int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()]


def restored(workdir: pathlib.Path, *, reading: bool = False) -> tuple[int, tuple[TrainState, str]]:
    """The newest whole checkpoint: its step, its arrays and its record as text."""
    experiment = open_task(workdir)
    _, params = split_model(experiment.make_model())
    like = TrainState.start(params, make_optimizer(experiment.config.training))
    checkpoints = Checkpoints(workdir / "checkpoints", reading=reading)
    found = checkpoints.restore(jax.tree.map(np.asarray, like))
    checkpoints.close()
    if found is None:
        raise RuntimeError(f"{workdir}: no checkpoint is left")
    return found.step, (found.arrays, json.dumps(found.record, sort_keys=True))


def final_state(workdir: pathlib.Path, step: int | None = None) -> tuple[TrainState, str]:
    """What a run ended with, or what it held at an earlier step."""
    if step is None or step == max(_steps(workdir)):
        return restored(workdir)[1]
    copy = workdir.with_name("earlier")
    shutil.copytree(workdir, copy)
    for later in [found for found in _steps(copy) if found > step]:
        shutil.rmtree(copy / "checkpoints" / str(later))
    state = restored(copy)[1]
    shutil.rmtree(copy)
    return state


def _equal(one: tuple[TrainState, str], other: tuple[TrainState, str]) -> bool:
    pairs = zip(jax.tree.leaves(one[0]), jax.tree.leaves(other[0]), strict=True)
    return one[1] == other[1] and all(np.array_equal(a, b) for a, b in pairs)


def _losses(workdir: pathlib.Path) -> dict[tuple[int, str], float]:
    rows = csv.DictReader((workdir / "metrics.csv").open())
    return {(int(row["step"]), row["split"]): float(row["value"]) for row in rows if row["name"] == "loss"}
