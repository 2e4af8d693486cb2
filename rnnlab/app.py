"""Launches the experiment of a config, or uses the model in a work directory. `rnnlab` (once installed) and
`python -m rnnlab` do the same as `python launch.py`.

python launch.py --config=configs/cmudict.py --workdir=runs/g2p
python launch.py --workdir=runs/g2p --mode=evaluate --split=test
python launch.py --workdir=runs/g2p --mode=predict < words.txt > phones.txt
python launch.py --workdir=runs/g2p --mode=serve --port=8000
python launch.py --server=http://127.0.0.1:8000 --mode=predict < words.txt > phones.txt
python launch.py --workdir=runs/g2p --ensemble=runs/b,runs/c --mode=predict < words.txt > phones.txt
python launch.py --workdir=runs/g2p --mode=breakdown
python launch.py --workdir=runs/g2p --mode=flow
python launch.py --workdir=runs/g2p --mode=export --out=exported/g2p
python launch.py --workdir=runs/g2p --mode=report
python launch.py --mode=compare runs/a runs/b --workdir=runs/compared
python launch.py --config=configs/cmudict.py --mode=config
python launch.py --config=configs/cmudict.py --workdir=runs/grid --sweep="model.encoder.cell=lstm,gru,rnn;seed=0,1,2"
python launch.py --config=configs/scan.py --workdir=runs/9 --sweep=training.learning_rate=log:1e-4:1e-2 --sweep_random=9
python launch.py --config=configs/language_model.py --workdir=runs/lm
python launch.py --workdir=runs/lm --mode=predict --temperature=0.8 < prompts.txt > texts.txt
python launch.py --config=configs/benchmark.py --workdir=runs/bench
python launch.py --config=configs/gradient_flow.py --workdir=runs/flow

--config.x.y=VALUE sets a field of the config; --mode=config prints all fields with their meanings and allowed values.
"""

import errno
import logging
import os
import pathlib
import signal
import sys
from typing import TYPE_CHECKING

from absl import app, flags
from absl import logging as absl_logging

from rnnlab import command
from rnnlab.errors import UserError
from rnnlab.extras import needs
from rnnlab.memory import keep_freed_memory
from rnnlab.own import load_own
from rnnlab.printing import show
from rnnlab.training.signals import Interrupted

if TYPE_CHECKING:
    from rnnlab.tasks.base import Task


def _main(argv: list[str]) -> int:
    """Runs the mode of the flags; returns the exit status, or 128 + signal if a signal stopped it.

    Raises:
      UserError: inconsistent flags, or an error of the experiment.
    """
    config, workdir = command.check(argv)
    runs = [pathlib.Path(name).expanduser() for name in argv[1:]]
    absl_logging.set_verbosity(absl_logging.ERROR)  # jax, orbax and tfds log every file that they open
    if command.MODE.value == "config":
        _show_config(config, workdir)
        return 0
    if config is not None and config.experiment == "benchmark":
        return _benchmark(config, workdir)
    if command.SERVER.value is not None:
        _ask(command.SERVER.value)
        return 0
    keep_freed_memory()
    from rnnlab.training.compile_cache import use_compile_cache  # jax starts here, after the flags are checked

    use_compile_cache()
    if config is not None and config.experiment == "gradient_flow":
        from rnnlab.flow_lab.driver import run as run_lab

        run_lab(config, workdir)
        return 0
    if command.MODE.value in ("report", "compare"):
        _write_page(workdir, runs)
        return 0
    if command.MODE.value == "serve":
        return _serve(_open(config, workdir))
    if command.MODE.value != "train":
        _use(_open(config, workdir))
        return 0
    return _train(config, workdir) if command.SWEEP.value is None else _sweep(command.SWEEP.value, config, workdir)


def _ask(server: str) -> None:
    """Has a running server answer the lines."""
    from rnnlab.serving.client import ask

    ask(server, sys.stdin.buffer, sys.stdout.buffer, command.shown() | command.given(command.SEARCH))


def _serve(task: "Task") -> int:
    """Serves a run; returns the exit status of the signal that ends it."""
    for name in command.shown():
        raise UserError(f"--{name}: not available for --mode=serve; give it with each request")
    with needs("serve", "--mode=serve"):
        from rnnlab.serving.server import serve

    return 128 + serve(task, command.PORT.value)


def _open(config, workdir: pathlib.Path) -> "Task":
    """Opens a work directory, with the options of evaluation that flags set."""
    from rnnlab.training.workdir import open_task

    task: Task
    if command.ENSEMBLE.value:
        from rnnlab.tasks.seq2seq.ensemble import open_ensemble

        task = open_ensemble([workdir, *(pathlib.Path(name).expanduser() for name in command.ENSEMBLE.value)], config)
    else:
        task = open_task(workdir, config)
    for name, value in command.given(
        (*command.SEARCH, command.AVERAGE, command.STREAMS, command.DYNAMIC_RATE, command.DYNAMIC_DECAY)
    ).items():
        if name not in task.config.evaluation:
            raise UserError(f"--{name}: {task.config.experiment} has no such option")
        task.config.evaluation[name] = value
    task.check(task.config)
    return task


def _use(task: "Task") -> None:
    """Runs the modes that use a run, except serving."""
    from rnnlab.training.report import best_params, evaluate

    if command.MODE.value == "breakdown":
        task.breakdown()
        return
    step, params = best_params(task)
    if command.MODE.value == "evaluate":
        show(f"{task.workdir}: best step {step}")
        evaluate(task, params, command.SPLIT.value or task.final_split)
    elif command.MODE.value == "flow":
        from rnnlab.training.flow import measure_flow

        measure_flow(task, params, command.SPLIT.value or task.final_split)
    elif command.MODE.value == "export":
        from rnnlab.export.folder import export_model

        export_model(task, params, pathlib.Path(command.OUT.value or "").expanduser())
        show(f"{command.OUT.value}: exported step {step}; its README.md describes it")
    else:
        from rnnlab.training.prediction import predict

        predict(task, params, sys.stdin.buffer, sys.stdout.buffer, **command.shown())


def _write_page(workdir: pathlib.Path, runs: list[pathlib.Path]) -> None:
    """Writes the report of a run, or the comparison of several, and prints where it is."""
    from rnnlab.training.pages.compare import compare
    from rnnlab.training.pages.run import write_page_of

    if command.MODE.value == "compare":
        compare(runs, workdir)
    else:
        show(write_page_of(workdir))


def _show_config(config, workdir: pathlib.Path) -> None:
    """Prints every field of a config, or of that of a work directory, with its value and its meaning."""
    from rnnlab.config import show_fields
    from rnnlab.tasks import find_task
    from rnnlab.training.workdir import read_config

    config = read_config(workdir) if config is None else config
    lab = command.LABS.get(config.experiment)
    for line in show_fields(config, load_own(lab) if lab else find_task(config.experiment).fields):
        show(line)


def _benchmark(config, workdir: pathlib.Path) -> int:
    from rnnlab import benchmark

    return 0 if benchmark.run(config, workdir) else 1


def _sweep(fields: str, config, workdir: pathlib.Path) -> int:
    from rnnlab.sweep import read_sweep, run_sweep

    settings, eta = read_sweep(fields, config, draws=command.SWEEP_RANDOM.value), command.SWEEP_HALVING.value or 0
    of_a_run, cell, jobs = command.command_of_a_run(), command.SWEEP_CELL.value, command.SWEEP_JOBS.value or 1
    return run_sweep(settings, config, workdir, of_a_run, cell, jobs=jobs, eta=eta)


def _train(config, workdir: pathlib.Path) -> int:
    from rnnlab.training.distributed import join
    from rnnlab.training.loop import train

    join(command.COORDINATOR.value, command.PROCESSES.value, command.PROCESS.value)
    train(config, workdir)
    return 0


def _in_one_line(error: Exception) -> str | None:
    """Returns the message of a full disk, a read-only folder or too little memory; None for a bug of rnnlab."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "no space left on the device"
    if isinstance(error, OSError) and error.strerror is not None:  # of a closed pipe or terminal
        return error.strerror
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return "not enough memory; make the model, training.batch_size or evaluation.batch_size smaller"
    return None


def run() -> int:
    """Runs the command by the flags in `sys.argv`.

    Returns:
      the exit status: 0, 1 after one line on stderr, or 128 + signal.
    """
    logger = logging.getLogger("rnnlab")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.StreamHandler())
    for flag in flags.FLAGS.get_flags_for_module(command.__name__):  # --help shows only the main module's
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    sys.modules["__main__"].__doc__ = __doc__  # and its docstring
    try:
        app.run(_main, flags_parser=command.parse)
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (OSError, MemoryError, RuntimeError) as error:
        if (line := _in_one_line(error)) is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + stop.signal
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0
