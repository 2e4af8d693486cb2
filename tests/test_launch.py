import json
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys
from unittest import mock

import pytest

from rnnlab import app
from rnnlab.training.signals import Interrupted

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "--config=configs/cmudict.py"
BENCHMARK = "--config=configs/benchmark.py"
FLOW = "--config=configs/gradient_flow.py"
TEXT = "--config=configs/language_model.py"


def _launch(*arguments, stdin=b"", **variables):
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "launch.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, timeout=120, env=environment)


MISTAKES = [
    (
        [CONFIG, "--config.model.encoder.sell=gru"],
        "--config.model.encoder.sell: unknown field; nearest: --config.model.encoder.cell",
    ),
    ([CONFIG, "--config.trainning.steps=3"], "nearest: --config.training.steps"),
    ([CONFIG, "--config.model.cell=gru"], "unknown field; nearest: --config.model.encoder.cell"),
    ([CONFIG, "--config.seed.x=3"], "--config.seed is a single value"),
    ([CONFIG, "--config.training.steps=many"], "error: --config.training.steps=many: not an integer"),
    ([CONFIG, "--config.training.learning_rate=fast"], "--config.training.learning_rate=fast: not a number"),
    ([CONFIG, "--config.training.shard_optimizer=maybe"], "shard_optimizer=maybe: neither true nor false"),
    ([CONFIG, "--config.training=3"], "is not a dict"),
    (["--config.training.steps=3", CONFIG], "before a value for --config"),
    (["--config.training.steps=3"], "nothing to override; give --config=FILE"),
    (["--config=configs/nothing.py"], "--config: no file configs/nothing.py"),
    ([CONFIG, "--wrkdir=x"], "Did you mean: workdir"),
    ([CONFIG, "--mode=trian"], "train|evaluate|predict"),
    ([CONFIG, "stray"], "'stray': not a flag"),
    ([CONFIG, "--sweep=seed=0,x"], "--sweep: seed='x' is not of type int"),
    ([CONFIG, "--sweep_cell=1"], "--sweep_cell: requires --sweep"),
    ([CONFIG, "--sweep_random=3"], "--sweep_random: requires --sweep"),
    ([CONFIG, "--sweep=seed=0,1", "--sweep_halving=2", "--sweep_cell=0"], "--sweep_cell: not available with --sweep_h"),
    ([CONFIG, "--sweep=training.learning_rate=log:1e-4:1e-2"], "is a range, from which --sweep_random=n draws"),
    ([CONFIG, "--config.training.tracker=neptune"], "config.training.tracker: unknown 'neptune'; allowed: wandb"),
    (
        [BENCHMARK, "--sweep=seed=0"],
        "--sweep: is for training; config.experiment must be seq2seq, language_model, sequence, lag or",
    ),
    ([CONFIG, "--processes=2"], "--processes: several processes need all of --coordinator"),
    ([], "--config: missing"),
    (
        [CONFIG, "--config.experiment=seq"],
        "unknown 'seq'; allowed: seq2seq, language_model, sequence, lag, benchmark, gradient_flow",
    ),
    ([BENCHMARK, "--config.shapes=8x8"], "config.shapes: '8x8' is not batch x length x hidden"),
    ([BENCHMARK, "--config.implementations=cuda"], "config.implementations: unknown 'cuda'; allowed: products"),
    ([BENCHMARK, "--config.repeats=0"], "config.repeats: 0 is not allowed; it must be above 0"),
    ([BENCHMARK, "--mode=predict"], "not available for a benchmark"),
    ([FLOW, "--config.reach.cells=gru,lsmt"], "config.reach.cells: unknown value 'lsmt'; allowed: rnn"),
    ([FLOW, "--config.flow.interventions=chrno"], "config.flow.interventions: unknown intervention 'chrno'"),
    ([FLOW, "--config.explosion.clippings=norm"], "config.explosion.clippings: 'norm' needs a limit above 0"),
    ([FLOW, "--config.reach.learning_rates=gru:1"], "config.reach.learning_rates: 'gru:1' gives no rate above 0"),
    ([FLOW, "--config.vanishing.task=coyp"], "config.vanishing.task: unknown problem 'coyp'; allowed: adding"),
    ([FLOW, "--config.reach.lags=1"], "config.reach.lags: a lag of 1 is too short for this problem"),
    (
        [FLOW, "--config.reach.task=associative_recall:pears=4"],
        "unknown option 'pears' of associative_recall; allowed: pairs, vocabulary",
    ),
    (
        [FLOW, "--config.reach.task=associative_recall:pairs=x"],
        "pairs='x' of associative_recall is not of type int",
    ),
    ([FLOW, "--config.warm.steps=0"], "config.warm.steps: 0 is not allowed; it must be above 0"),
    ([FLOW, "--config.newton.lag=1"], "config.newton.lag: 1 is not allowed; it must be 2 or above"),
    ([FLOW, "--config.cost.lengths=8,x"], "config.cost.lengths: 'x' is not a whole number above 0"),
    ([FLOW, "--mode=evaluate"], "not available for a gradient_flow"),
    (
        ["--config=configs/benchmark.py:long"],
        "unknown preset 'long'; allowed: lengths, ragged, growth, plans, parallel, or empty",
    ),
    ([CONFIG, "--config.model.decoder.cell=elman"], "unknown value 'elman'; allowed: rnn"),
    ([CONFIG, "--config.model.encoder.method=associative"], "method of cell 'lstm': unknown value 'associative'"),
    ([CONFIG, "--config.training.teacher_forcing_decay=linear:0.1"], "which is 1; lower that to the final ratio"),
    (
        [CONFIG, "--config.data.name=sigmorphon2020", "--config.data.language=eng"],
        "has no file train/eng_train.tsv",
    ),
    ([TEXT, "--config.data.files.train=none.txt"], "none.txt: cannot be read"),
    ([TEXT, "--config.training.batch_size=100000"], "fewer than one batch of config.training.batch_size=100000"),
    (["--config=configs/tiny_shakespeare.py:gru"], "unknown 'gru'; allowed: min_gru, or empty"),
    (["--mode=predict"], "not a work directory"),
    (["--mode=export"], "--out: missing; give a new folder for the model"),
    (["--mode=predict", "--out=x"], "--out: is for --mode=export"),
    (["--mode=export", "--out=x", "--n_best=2"], "--n_best: is for --mode=predict"),
    (["--mode=export", "--out=x"], "not a work directory"),
    (["--mode=report"], "not a work directory"),
    (["--mode=compare"], "needs two work directories or more, such as --mode=compare runs/a runs/b"),
    (["--mode=compare", "a", "b"], "a: not a work directory"),
    (["--mode=serve"], "not a work directory"),
    (["--mode=serve", "--port=65536"], "--port=65536: 65536 is not an integer in the range"),
    (["--mode=flow", "--ensemble=a,b"], "--ensemble: --mode=flow takes one work directory; allowed: evaluate"),
]
# All of them in a child each of one process, which has imported what they need.
_MISTAKEN = """
import json, os, sys
import rnnlab.app, rnnlab.benchmark, rnnlab.flow_lab.driver, rnnlab.sweep, rnnlab.training

for number, arguments in enumerate(json.load(sys.stdin)):
    child = os.fork()
    if not child:
        os.dup2(os.open(f"{sys.argv[1]}/{number}.txt", os.O_CREAT | os.O_WRONLY), 2)
        sys.argv = ["launch.py", f"--workdir={sys.argv[1]}/{number}", *arguments]
        try:
            status = rnnlab.app.run()
        finally:
            sys.stderr.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """For each of the mistakes the exit status, the lines on stderr, and the work directory."""
    folder = tmp_path_factory.mktemp("mistaken")
    command = [sys.executable, "-c", _MISTAKEN, str(folder)]
    given = json.dumps([arguments for arguments, _ in MISTAKES])
    done = subprocess.run(command, cwd=ROOT, input=given, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    texts = [(folder / f"{number}.txt").read_text().splitlines() for number in range(len(MISTAKES))]
    workdirs = [folder / str(number) for number in range(len(MISTAKES))]
    return list(zip(map(int, done.stdout.split()), texts, workdirs, strict=True))


@pytest.mark.parametrize(("end", "status"), [(Interrupted(signal.SIGTERM), 143), (KeyboardInterrupt(), 130)])
def test_what_a_signal_stopped_ends_with_its_number(monkeypatch, end, status):
    logger = logging.getLogger("rnnlab")
    for name, value in {"handlers": [], "propagate": False, "level": logger.level}.items():  # as they were, afterwards
        monkeypatch.setattr(logger, name, value)
    monkeypatch.setattr(app.app, "run", mock.Mock(side_effect=end))
    assert app.run() == status


@pytest.mark.parametrize(("number", "message"), [(n, message) for n, (_, message) in enumerate(MISTAKES)])
def test_a_mistake_is_one_line_with_status_one_and_nothing_written(mistaken, number, message):
    status, lines, workdir = mistaken[number]
    assert status == 1
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not workdir.exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_predicting_without_standard_input_or_output_is_one_line(trained, closed):
    command = f'exec "{sys.executable}" launch.py --workdir="{trained}" --mode=predict {closed}'
    result = subprocess.run(["sh", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, timeout=120, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("error: --mode=predict: needs standard input and standard output")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("config", "line"),
    [(BENCHMARK, "repeats = 7   rounds, .*above 0"), (FLOW, "warm.steps = 1000   maximum training steps, above 0")],
)
def test_the_fields_of_a_lab_are_printed_with_values_meanings_and_ranges(config, line):
    more = ["--config.repeats=7"] if config == BENCHMARK else []
    result = _launch(config, *more, "--mode=config")
    assert result.returncode == 0, result.stderr
    assert re.search("^" + line.replace("   ", " +") + "$", result.stdout.decode(), re.MULTILINE)


def test_help_lists_each_mode_on_a_line_and_says_where_the_fields_are():
    text = _launch("--help").stdout.decode()
    for mode in ("train", "evaluate", "predict", "breakdown", "flow", "report", "compare", "config"):
        assert re.search(rf"^ +{mode} +\w+.* \w+", text, re.MULTILINE), mode
    assert "--mode=config prints all fields" in text
    assert max(map(len, text.partition("flags:")[2].splitlines())) <= 80


def test_an_error_within_a_config_keeps_its_message(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return int('x')\n")
    result = _launch(f"--config={tmp_path}/mine.py", f"--workdir={tmp_path}/run")
    assert result.stderr.decode().splitlines() == ["error: ValueError: invalid literal for int() with base 10: 'x'"]


def test_a_missing_workdir_is_told():
    assert b"--workdir: missing" in _launch(CONFIG).stderr


def test_everything_after_training_needs_only_the_workdir(trained, tmp_path):
    result = _launch(f"--workdir={trained}", "--mode=evaluate", "--split=validation", "--beam_size=1")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1])["examples"] == 40
    for package in ("tensorflow_datasets", "grain"):  # for data, which prediction has none of
        (tmp_path / f"{package}.py").write_text("raise ImportError")
    result = _launch(f"--workdir={trained}", "--mode=predict", stdin=b"abc\n\nfed", PYTHONPATH=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == b"A B C\n\nF E D\n"
    assert result.stderr == b""


def test_a_second_start_of_the_same_experiment_compiles_nothing(trained, tmp_path):
    """Every program that is compiled leaves a file; the second start finds them all and adds none."""
    kept = []
    for _ in range(2):
        result = _launch(
            f"--workdir={trained}", "--mode=evaluate", "--split=validation", JAX_COMPILATION_CACHE_DIR=tmp_path
        )
        assert result.returncode == 0, result.stderr
        kept.append((result.stdout, {path.name for path in tmp_path.iterdir() if path.name.endswith("-cache")}))
    assert kept[0][1]
    assert kept[1] == kept[0]


def test_a_work_directory_that_the_locale_cannot_name_is_one_line(tmp_path):
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "launch.py", CONFIG, f"--workdir={tmp_path}/é"]
    result = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, timeout=120, env=environment)
    assert result.returncode == 1
    assert result.stderr.startswith(b"error: --workdir: ")
    assert result.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []
