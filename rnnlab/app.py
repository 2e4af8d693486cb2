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

import difflib
import errno
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from rnnlab.errors import UserError
from rnnlab.extras import needs
from rnnlab.memory import keep_freed_memory
from rnnlab.own import is_own, load_own
from rnnlab.printing import show
from rnnlab.tasks import TASKS
from rnnlab.training.signals import Interrupted

if TYPE_CHECKING:
    from rnnlab.tasks.base import Task

MODES = {
    "train": "trains, or resumes from the last checkpoint",
    "evaluate": "prints the scores of a split as one JSON object",
    "predict": "reads lines from stdin, and prints an output for each",
    "serve": "answers over HTTP on this machine: --port=8000",
    "breakdown": "prints where the time of a training step goes",
    "flow": "prints how far a gradient reaches in each recurrence",
    "report": "writes report.html of a run, also while it trains",
    "compare": "compares runs: --mode=compare runs/a runs/b --workdir=FOLDER",
    "export": "writes a folder that needs no rnnlab: --out=FOLDER",
    "config": "prints every field of a config: value, meaning, allowed values",
}
_MODE_HELP = "What to do:\n" + "\n".join(f"{name:9s} {what}" for name, what in MODES.items())
LABS = {"benchmark": "rnnlab.benchmark.cases:FIELDS", "gradient_flow": "rnnlab.flow_lab.config:FIELDS"}
_HOMES = (pathlib.Path(__file__).parent, pathlib.Path(__file__).parents[1])  # of configs/: installed, in a clone

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file in configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: created or resumed.")
_MODE = flags.DEFINE_enum("mode", "train", list(MODES), _MODE_HELP)
_SPLIT = flags.DEFINE_enum("split", "test", ("train", "validation", "test"), "evaluate, flow: the split to use.")
_BEAM_SIZE = flags.DEFINE_integer("beam_size", None, "evaluate, predict: instead of the config's.", lower_bound=1)
_MAX_TOKENS = flags.DEFINE_integer("max_tokens", None, "evaluate, predict: instead of the config's.", lower_bound=0)
_LENGTH_PENALTY = flags.DEFINE_float("length_penalty", None, "evaluate, predict: instead of the config's.")
_ENSEMBLE = flags.DEFINE_list("ensemble", [], "evaluate, predict, serve: work directories of further models.")
_TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "predict: above 0, samples beam_size outputs instead of searching."
)
_TOP_K = flags.DEFINE_integer("top_k", None, "predict: samples only from the k most likely tokens.", lower_bound=0)
_TOP_P = flags.DEFINE_float("top_p", None, "predict: samples from the fewest tokens with this share.")
_COVERAGE_PENALTY = flags.DEFINE_float("coverage_penalty", None, "evaluate, predict: instead of the config's.")
_AVERAGE = flags.DEFINE_integer(
    "average", None, "evaluate, predict: uses the mean of n best checkpoints.", lower_bound=1
)
_TOKEN_SCORES = flags.DEFINE_bool(
    "token_scores",
    False,
    "predict: adds the log-probability of each output token; with a language model, of each token of the line.",
)
_STOP = flags.DEFINE_string("stop", None, "predict: 'line' ends a language model's continuation at a line break.")
_STREAMS = flags.DEFINE_integer("streams", None, "evaluate: parts of a text to read in parallel.", lower_bound=1)
_DYNAMIC_RATE = flags.DEFINE_float("dynamic_rate", None, "evaluate: learning rate of dynamic evaluation.")
_DYNAMIC_DECAY = flags.DEFINE_float("dynamic_decay", None, "evaluate: its decay towards the trained parameters.")
_ATTENTION = flags.DEFINE_string("attention", None, "predict: folder for each line's attention (array, picture).")
_OUT = flags.DEFINE_string("out", None, "export: new folder for the model; search options as for predict.")
_SWEEP = flags.DEFINE_string("sweep", None, "train: a grid of runs, such as 'model.encoder.cell=lstm,gru;seed=0,1,2'.")
_SWEEP_CELL = flags.DEFINE_integer("sweep_cell", None, "sweep: does only the run of this number, from 0.")
_SWEEP_JOBS = flags.DEFINE_integer("sweep_jobs", None, "sweep: runs at once, by default 1.", lower_bound=1)
_SWEEP_RANDOM = flags.DEFINE_integer(
    "sweep_random",
    None,
    "sweep: draws this many runs from the grid and from ranges: 'training.learning_rate=log:1e-4:1e-2'.",
    lower_bound=1,
)
_SWEEP_HALVING = flags.DEFINE_integer(
    "sweep_halving", None, "sweep: successive halving; each stage keeps the best of this many runs.", lower_bound=2
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "train: address:port of process 0 of a run with several.")
_PROCESSES = flags.DEFINE_integer("processes", None, "train: number of processes of the run.")
_PROCESS = flags.DEFINE_integer("process", None, "train: number of this process, from 0.")
_N_BEST = flags.DEFINE_integer(
    "n_best", 0, "predict: this many outputs per line, each with its score, separated by TABs.", lower_bound=0
)

_PORT = flags.DEFINE_integer("port", 8000, "serve: port on 127.0.0.1; 0: a free one.", lower_bound=0, upper_bound=65535)
_SERVER = flags.DEFINE_string("server", None, "predict: asks a running server, http://127.0.0.1:8000, instead.")
_SEARCH = (_BEAM_SIZE, _MAX_TOKENS, _LENGTH_PENALTY, _COVERAGE_PENALTY, _TEMPERATURE, _TOP_K, _TOP_P, _STOP)


def _main(argv: list[str]) -> int:
    """Runs the mode of the flags; returns the exit status, or 128 + signal if a signal stopped it.

    Raises:
      UserError: inconsistent flags, or an error of the experiment.
    """
    config, workdir = _check_flags(argv)
    runs = [pathlib.Path(name).expanduser() for name in argv[1:]]
    absl_logging.set_verbosity(absl_logging.ERROR)  # jax, orbax and tfds log every file that they open
    if _MODE.value == "config":
        _show_config(config, workdir)
        return 0
    if config is not None and config.experiment == "benchmark":
        return _benchmark(config, workdir)
    if _SERVER.value is not None:
        _ask(_SERVER.value)
        return 0
    keep_freed_memory()
    from rnnlab.training.compile_cache import use_compile_cache  # jax starts here, after the flags are checked

    use_compile_cache()
    if config is not None and config.experiment == "gradient_flow":
        from rnnlab.flow_lab.driver import run as run_lab

        run_lab(config, workdir)
        return 0
    if _MODE.value in ("report", "compare"):
        _write_page(workdir, runs)
        return 0
    if _MODE.value == "serve":
        return _serve(_open(config, workdir))
    if _MODE.value != "train":
        _use(_open(config, workdir))
        return 0
    return _train(config, workdir) if _SWEEP.value is None else _sweep(_SWEEP.value, config, workdir)


def _check_flags(argv: list[str]):
    """Returns the config, if there is one, and the work directory, after checking the flags."""
    if argv[1:] and _MODE.value != "compare":
        raise UserError(f"{argv[1]!r}: not a flag; flags start with --")
    if _SERVER.value is not None:
        _check_client()
    elif _WORKDIR.value is None and (_MODE.value != "config" or _CONFIG.value is None):
        raise UserError("--workdir: missing; give the folder of the run")
    if any("\ud800" <= character <= "\udfff" for character in _WORKDIR.value or ""):  # no library could open it
        raise UserError(f"--workdir: {_WORKDIR.value!r} is not text in this locale; set LC_ALL=C.UTF-8, or use ASCII")
    if _MODE.value == "predict" and (sys.stdin is None or sys.stdout is None):
        raise UserError("--mode=predict: needs standard input and standard output, but one of them is closed")
    if _ENSEMBLE.value and _MODE.value not in (several := ("evaluate", "predict", "serve", "export")):
        raise UserError(f"--ensemble: --mode={_MODE.value} takes one work directory; allowed: {', '.join(several)}")
    _check_out()
    config, workdir = _CONFIG.value, pathlib.Path(_WORKDIR.value or ".").expanduser()
    if config is None and _MODE.value == "train":
        raise UserError("--config: missing; training needs one, such as --config=configs/cmudict.py")
    experiment = None if config is None else str(config.get("experiment"))
    is_task = experiment in TASKS or (experiment is not None and is_own(experiment))
    if experiment is not None and not is_task and experiment not in LABS:
        known = ", ".join((*TASKS, *LABS))
        raise UserError(f"config.experiment: unknown {experiment!r}; allowed: {known}, or file.py:NAME")
    if experiment in LABS and _MODE.value not in ("train", "config"):
        raise UserError(f"--mode={_MODE.value}: not available for a {experiment}; omit --mode")
    for flag in (_SWEEP_CELL, _SWEEP_JOBS, _SWEEP_RANDOM, _SWEEP_HALVING):
        if _SWEEP.value is None and flag.value is not None:
            raise UserError(f"--{flag.name}: requires --sweep")
    if _SWEEP_CELL.value is not None and _SWEEP_HALVING.value is not None:
        raise UserError("--sweep_cell: not available with --sweep_halving, which compares all runs after each stage")
    if _SWEEP.value is not None and (_MODE.value != "train" or not is_task):
        raise UserError(f"--sweep: is for training; config.experiment must be {', '.join(TASKS)} or file.py:NAME")
    return config, workdir


def _check_out() -> None:
    """Checks the flags of an export."""
    exports = _MODE.value == "export"
    if exports != bool(_OUT.value):
        raise UserError(f"--out: {'missing; give a new folder for the model' if exports else 'is for --mode=export'}")
    if exports and (given := list(_shown())):
        raise UserError(f"--{given[0]}: is for --mode=predict; a program of an exported model has all results")


def _check_client() -> None:
    """Refuses flags that a client of a server cannot have."""
    if _MODE.value != "predict":
        raise UserError(f"--server: not available for --mode={_MODE.value}; allowed: predict")
    for flag in (_WORKDIR, _ENSEMBLE, _AVERAGE, _ATTENTION):
        if flag.value:
            raise UserError(f"--{flag.name}: belongs to the command that starts the server; omit it beside --server")


def _ask(server: str) -> None:
    """Has a running server answer the lines."""
    from rnnlab.serving.client import ask

    ask(server, sys.stdin.buffer, sys.stdout.buffer, _shown() | _given(_SEARCH))


def _given(options: Sequence[flags.FlagHolder]) -> dict[str, Any]:
    """Returns the values of the flags that were given."""
    return {flag.name: flag.value for flag in options if flag.value is not None}


def _serve(task: "Task") -> int:
    """Serves a run; returns the exit status of the signal that ends it."""
    for name in _shown():
        raise UserError(f"--{name}: not available for --mode=serve; give it with each request")
    with needs("serve", "--mode=serve"):
        from rnnlab.serving.server import serve

    return 128 + serve(task, _PORT.value)


def _open(config, workdir: pathlib.Path) -> "Task":
    """Opens a work directory, with the options of evaluation that flags set."""
    from rnnlab.training.workdir import open_task

    task: Task
    if _ENSEMBLE.value:
        from rnnlab.tasks.seq2seq.ensemble import open_ensemble

        task = open_ensemble([workdir, *(pathlib.Path(name).expanduser() for name in _ENSEMBLE.value)], config)
    else:
        task = open_task(workdir, config)
    for name, value in _given((*_SEARCH, _AVERAGE, _STREAMS, _DYNAMIC_RATE, _DYNAMIC_DECAY)).items():
        if name not in task.config.evaluation:
            raise UserError(f"--{name}: {task.config.experiment} has no such option")
        task.config.evaluation[name] = value
    task.check(task.config)
    return task


def _use(task: "Task") -> None:
    """Runs the modes that use a run, except serving."""
    from rnnlab.training.report import best_params, evaluate

    if _MODE.value == "breakdown":
        task.breakdown()
        return
    step, params = best_params(task)
    if _MODE.value == "evaluate":
        show(f"{task.workdir}: best step {step}")
        evaluate(task, params, _SPLIT.value)
    elif _MODE.value == "flow":
        from rnnlab.training.flow import measure_flow

        measure_flow(task, params, _SPLIT.value)
    elif _MODE.value == "export":
        from rnnlab.export.folder import export_model

        export_model(task, params, pathlib.Path(_OUT.value or "").expanduser())
        show(f"{_OUT.value}: exported step {step}; its README.md describes it")
    else:
        from rnnlab.training.prediction import predict

        predict(task, params, sys.stdin.buffer, sys.stdout.buffer, **_shown())


def _write_page(workdir: pathlib.Path, runs: list[pathlib.Path]) -> None:
    """Writes the report of a run, or the comparison of several, and prints where it is."""
    from rnnlab.training.pages.compare import compare
    from rnnlab.training.pages.run import write_page_of

    if _MODE.value == "compare":
        compare(runs, workdir)
    else:
        show(write_page_of(workdir))


def _shown() -> dict[str, object]:
    """Returns the options of a task's predictor that flags set."""
    attention = pathlib.Path(_ATTENTION.value).expanduser() if _ATTENTION.value else None
    given = {"n_best": _N_BEST.value, "token_scores": _TOKEN_SCORES.value, "attention": attention}
    return {name: value for name, value in given.items() if value}


def _show_config(config, workdir: pathlib.Path) -> None:
    """Prints every field of a config, or of that of a work directory, with its value and its meaning."""
    from rnnlab.config import show_fields
    from rnnlab.tasks import find_task
    from rnnlab.training.workdir import read_config

    config = read_config(workdir) if config is None else config
    lab = LABS.get(config.experiment)
    for line in show_fields(config, load_own(lab) if lab else find_task(config.experiment).fields):
        show(line)


def _benchmark(config, workdir: pathlib.Path) -> int:
    from rnnlab import benchmark

    return 0 if benchmark.run(config, workdir) else 1


def _sweep(fields: str, config, workdir: pathlib.Path) -> int:
    from rnnlab.sweep import read_sweep, run_sweep

    settings, eta = read_sweep(fields, config, draws=_SWEEP_RANDOM.value), _SWEEP_HALVING.value or 0
    command, cell, jobs = _command_of_a_run(), _SWEEP_CELL.value, _SWEEP_JOBS.value or 1
    return run_sweep(settings, config, workdir, command, cell, jobs=jobs, eta=eta)


def _command_of_a_run() -> list[str]:
    """Returns this process's command (launch.py, `-m rnnlab` or `rnnlab`) without the flags that a sweep sets."""
    own = ("sweep", "workdir", "mode")
    program = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv[1:])]
    return [sys.executable, *program, *(a for a in _joined(sys.argv[1:]) if not a.lstrip("-").startswith(own))]


def _joined(arguments: list[str]) -> list[str]:
    """Returns the arguments with each flag and its value in one."""
    joined: list[str] = []
    for argument in arguments:
        if joined and not argument.startswith("-") and "=" not in joined[-1]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _train(config, workdir: pathlib.Path) -> int:
    from rnnlab.training.distributed import join
    from rnnlab.training.loop import train

    join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    train(config, workdir)
    return 0


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the flags; each error becomes one line.

    Raises:
      UserError: an unknown flag or field (with the nearest known one), or a value of the wrong type.
    """
    argv = [argv[0], *_with_shipped_config(argv[1:])]
    try:
        _check_fields(argv)
        return flags.FLAGS(argv)
    except (flags.Error, OSError, KeyError, TypeError, ValueError, SyntaxError, ImportError) as error:
        text = str(error).strip()  # of an error within a config, only its message
        raise UserError(text.splitlines()[-1] if "Traceback" in text else text) from None


def _with_shipped_config(arguments: list[str]) -> list[str]:
    """Returns the arguments, with a missing `configs/NAME.py` replaced by the one installed with rnnlab."""
    found = list(arguments)
    for i, argument in enumerate(found):
        if argument.startswith("--config="):
            found[i] = f"--config={_config_file(argument.removeprefix('--config='))}"
        elif found[max(i - 1, 0)] == "--config":
            found[i] = _config_file(argument)
    return found


def _config_file(name: str) -> str:
    path, colon, value = name.partition(":")
    if path.startswith("configs/") and not pathlib.Path(path).exists():
        path = str(next((folder / path for folder in _HOMES if (folder / path).is_file()), path))
    return f"{path}{colon}{value}"


def _check_fields(argv: list[str]) -> None:
    """Refuses overrides of fields that the config lacks, for which absl would print a stack trace."""
    overrides = [arg.partition("=")[0] for arg in argv if arg.startswith("--config.")]
    alone = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", None, "", flag_values=alone, sys_argv=[])
    alone(argv, known_only=True)
    getattr(holder.value, "experiment", None)  # a file that could not be loaded raises its error on first access
    if overrides and holder.value is None:
        raise UserError(f"{overrides[0]}: there is nothing to override; give --config=FILE before it")
    for override in overrides:
        here, known = holder.value, "--config"
        for name in override.split(".")[1:]:
            fields = list(here) if hasattr(here, "keys") else []
            if name not in fields:
                nearest = difflib.get_close_matches(name, fields, n=1, cutoff=0)
                hint = f"; nearest: {known}.{nearest[0]}" if nearest else f"; {known} is a single value"
                raise UserError(f"{override}: unknown field{hint}")
            here, known = here[name], f"{known}.{name}"


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
    for flag in flags.FLAGS.get_flags_for_module(__name__):  # --help shows only flags of the main module
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    sys.modules["__main__"].__doc__ = __doc__  # and its docstring
    try:
        app.run(_main, flags_parser=_parse_flags)
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
