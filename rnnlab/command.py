"""The flags of the command: definitions, parsing, and checks before anything is imported or written."""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from rnnlab.config import nearest_field
from rnnlab.errors import UserError
from rnnlab.own import is_own
from rnnlab.tasks import TASKS

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

CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file in configs/.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run: created or resumed.")
MODE = flags.DEFINE_enum("mode", "train", list(MODES), _MODE_HELP)
SPLIT = flags.DEFINE_enum(
    "split",
    None,
    ("train", "validation", "test"),
    "evaluate, flow: the split to use, by default test, or validation if there is no test split.",
)
BEAM_SIZE = flags.DEFINE_integer("beam_size", None, "evaluate, predict: instead of the config's.", lower_bound=1)
MAX_TOKENS = flags.DEFINE_integer("max_tokens", None, "evaluate, predict: instead of the config's.", lower_bound=0)
LENGTH_PENALTY = flags.DEFINE_float("length_penalty", None, "evaluate, predict: instead of the config's.")
ENSEMBLE = flags.DEFINE_list("ensemble", [], "evaluate, predict, serve: work directories of further models.")
TEMPERATURE = flags.DEFINE_float(
    "temperature", None, "predict: above 0, samples beam_size outputs instead of searching."
)
TOP_K = flags.DEFINE_integer("top_k", None, "predict: samples only from the k most likely tokens.", lower_bound=0)
TOP_P = flags.DEFINE_float("top_p", None, "predict: samples from the fewest tokens with this share.")
COVERAGE_PENALTY = flags.DEFINE_float("coverage_penalty", None, "evaluate, predict: instead of the config's.")
AVERAGE = flags.DEFINE_integer(
    "average", None, "evaluate, predict: uses the mean of n best checkpoints.", lower_bound=1
)
TOKEN_SCORES = flags.DEFINE_bool(
    "token_scores",
    False,
    "predict: adds the log-probability of each output token; with a language model, of each token of the line.",
)
STOP = flags.DEFINE_string("stop", None, "predict: 'line' ends a language model's continuation at a line break.")
STREAMS = flags.DEFINE_integer("streams", None, "evaluate: parts of a text to read in parallel.", lower_bound=1)
DYNAMIC_RATE = flags.DEFINE_float("dynamic_rate", None, "evaluate: learning rate of dynamic evaluation.")
DYNAMIC_DECAY = flags.DEFINE_float("dynamic_decay", None, "evaluate: its decay towards the trained parameters.")
ATTENTION = flags.DEFINE_string("attention", None, "predict: folder for each line's attention (array, picture).")
OUT = flags.DEFINE_string("out", None, "export: new folder for the model; search options as for predict.")
SWEEP = flags.DEFINE_string("sweep", None, "train: a grid of runs, such as 'model.encoder.cell=lstm,gru;seed=0,1,2'.")
SWEEP_CELL = flags.DEFINE_integer("sweep_cell", None, "sweep: does only the run of this number, from 0.")
SWEEP_JOBS = flags.DEFINE_integer("sweep_jobs", None, "sweep: runs at once, by default 1.", lower_bound=1)
SWEEP_RANDOM = flags.DEFINE_integer(
    "sweep_random",
    None,
    "sweep: draws this many runs from the grid and from ranges: 'training.learning_rate=log:1e-4:1e-2'.",
    lower_bound=1,
)
SWEEP_HALVING = flags.DEFINE_integer(
    "sweep_halving", None, "sweep: successive halving; each stage keeps the best of this many runs.", lower_bound=2
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "train: address:port of process 0 of a run with several.")
PROCESSES = flags.DEFINE_integer("processes", None, "train: number of processes of the run.")
PROCESS = flags.DEFINE_integer("process", None, "train: number of this process, from 0.")
N_BEST = flags.DEFINE_integer(
    "n_best", 0, "predict: this many outputs per line, each with its score, separated by TABs.", lower_bound=0
)

PORT = flags.DEFINE_integer("port", 8000, "serve: port on 127.0.0.1; 0: a free one.", lower_bound=0, upper_bound=65535)
SERVER = flags.DEFINE_string("server", None, "predict: asks a running server, http://127.0.0.1:8000, instead.")
SEARCH = (BEAM_SIZE, MAX_TOKENS, LENGTH_PENALTY, COVERAGE_PENALTY, TEMPERATURE, TOP_K, TOP_P, STOP)
EVALUATION = (*SEARCH, AVERAGE, STREAMS, DYNAMIC_RATE, DYNAMIC_DECAY)  # instead of fields of config.evaluation


# what Python calls a value of the wrong type, and what the command does
_WRONG_TYPES = {
    "invalid literal for int()": "not an integer",
    "could not convert string to float": "not a number",
    "Non-boolean argument": "neither true nor false",
}


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; each error becomes one line.

    Raises:
      UserError: an unknown flag or field (with the nearest known one), or a value of the wrong type.
    """
    argv = [argv[0], *_with_shipped_config(argv[1:])]
    try:
        _check_fields(argv)
        return flags.FLAGS(argv)
    except (flags.Error, OSError, KeyError, TypeError, ValueError, SyntaxError, ImportError) as error:
        raise UserError(_in_our_words(str(error).strip())) from None


def _in_our_words(text: str) -> str:
    """Returns what is wrong with a flag's value, or of an error within a config only its message."""
    if "Traceback" in text:
        return text.splitlines()[-1]
    for python, ours in _WRONG_TYPES.items():
        given, found, _ = text.partition(python)
        if found and given.startswith("flag --"):
            return given.removeprefix("flag ").rstrip("('") + ours
    return text


def check(argv: list[str]):
    """Returns the config, if there is one, and the work directory, after checking the flags."""
    if argv[1:] and MODE.value != "compare":
        raise UserError(f"{argv[1]!r}: not a flag; flags start with --")
    if SERVER.value is not None:
        _check_client()
    elif WORKDIR.value is None and (MODE.value != "config" or CONFIG.value is None):
        raise UserError("--workdir: missing; give the folder of the run")
    if any("\ud800" <= character <= "\udfff" for character in WORKDIR.value or ""):  # no library could open it
        raise UserError(f"--workdir: {WORKDIR.value!r} is not text in this locale; set LC_ALL=C.UTF-8, or use ASCII")
    if MODE.value == "predict" and (sys.stdin is None or sys.stdout is None):
        raise UserError("--mode=predict: needs standard input and standard output, but one of them is closed")
    if ENSEMBLE.value and MODE.value not in (several := ("evaluate", "predict", "serve", "export")):
        raise UserError(f"--ensemble: --mode={MODE.value} takes one work directory; allowed: {', '.join(several)}")
    _check_out()
    config, workdir = CONFIG.value, pathlib.Path(WORKDIR.value or ".").expanduser()
    if config is None and MODE.value == "train":
        raise UserError("--config: missing; training needs one, such as --config=configs/cmudict.py")
    experiment = None if config is None else str(config.get("experiment"))
    is_task = experiment in TASKS or (experiment is not None and is_own(experiment))
    if experiment is not None and not is_task and experiment not in LABS:
        known = ", ".join((*TASKS, *LABS))
        raise UserError(f"config.experiment: unknown {experiment!r}; allowed: {known}, or file.py:NAME")
    if experiment in LABS and MODE.value not in ("train", "config"):
        raise UserError(f"--mode={MODE.value}: not available for a {experiment}; omit --mode")
    for flag in (SWEEP_CELL, SWEEP_JOBS, SWEEP_RANDOM, SWEEP_HALVING):
        if SWEEP.value is None and flag.value is not None:
            raise UserError(f"--{flag.name}: requires --sweep")
    if SWEEP_CELL.value is not None and SWEEP_HALVING.value is not None:
        raise UserError("--sweep_cell: not available with --sweep_halving, which compares all runs after each stage")
    if SWEEP.value is not None and (MODE.value != "train" or not is_task):
        raise UserError(f"--sweep: is for training; config.experiment must be {', '.join(TASKS)} or file.py:NAME")
    return config, workdir


def given(options: Sequence[flags.FlagHolder]) -> dict[str, Any]:
    """Returns the values of the flags that were given."""
    return {flag.name: flag.value for flag in options if flag.value is not None}


def shown() -> dict[str, object]:
    """Returns the options of a task's predictor that flags set."""
    attention = pathlib.Path(ATTENTION.value).expanduser() if ATTENTION.value else None
    given = {"n_best": N_BEST.value, "token_scores": TOKEN_SCORES.value, "attention": attention}
    return {name: value for name, value in given.items() if value}


def command_of_a_run() -> list[str]:
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


def _check_out() -> None:
    """Checks the flags of an export."""
    exports = MODE.value == "export"
    if exports != bool(OUT.value):
        raise UserError(f"--out: {'missing; give a new folder for the model' if exports else 'is for --mode=export'}")
    if exports and (given := list(shown())):
        raise UserError(f"--{given[0]}: is for --mode=predict; a program of an exported model has all results")


def _check_client() -> None:
    """Refuses flags that a client of a server cannot have."""
    if MODE.value != "predict":
        raise UserError(f"--server: not available for --mode={MODE.value}; allowed: predict")
    for flag in (WORKDIR, ENSEMBLE, AVERAGE, ATTENTION):
        if flag.value:
            raise UserError(f"--{flag.name}: belongs to the command that starts the server; omit it beside --server")


def _with_shipped_config(arguments: list[str]) -> list[str]:
    """Returns the arguments, with a missing `configs/NAME.py` replaced by the one installed with rnnlab."""
    found = list(arguments)
    for i, argument in enumerate(found):
        if argument.startswith("--config="):
            found[i] = f"--config={_config_file(argument.removeprefix('--config='))}"
        elif i and found[i - 1] == "--config":
            found[i] = _config_file(argument)
    return found


def _config_file(name: str) -> str:
    path, colon, value = name.partition(":")
    if path.startswith("configs/") and not pathlib.Path(path).exists():
        path = str(next((folder / path for folder in _HOMES if (folder / path).is_file()), path))
    if not pathlib.Path(path).exists():
        raise UserError(f"--config: no file {path}")
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
                nearest = f"nearest: --config.{nearest_field(holder.value, override.removeprefix('--config.'))}"
                raise UserError(f"{override}: unknown field; {nearest if fields else f'{known} is a single value'}")
            here, known = here[name], f"{known}.{name}"
