"""`python -m rnnlab.aot`: its table, and its one line for each mistake."""

import collections
import importlib.util
import os
import subprocess
import sys

import pytest

from rnnlab.aot import Loop, Program, Report
from rnnlab.aot.table import heading, rows_of
from tests import nightly
from tests.tiny import ROOT

INSTALLED = importlib.util.find_spec("jax_cuda13_plugin") is not None


def test_a_table_has_a_row_for_each_program_and_each_loop():
    count = collections.Counter
    inner = Loop("jit(f)/transpose(jvp())/while", None, 1, count({"fusion": 3}), 2, count({"all-gather": 1}))
    program = Program((Loop("jit(f)/while", 9, 0, count(), 0, count()), inner), count({"fusion": 7}), count())
    rows = list(rows_of("step", Report(program, 0, 0, 0, 2_500_000, 16, 1.25, "")))
    assert rows == [
        "| step | outside loops |  | 7: 7 fusion | 0 | 2.5 | 16 | 1.2 |",
        "|  | loop 1 | 9 | 0 | 0 |  |  |  |",
        "|  | inner loop 2, backward |  | 3: 3 fusion; 2 to decide whether to stop | 1: 1 all-gather |  |  |  |",
    ]
    assert {row.count("|") for row in (*heading().splitlines(), *rows)} == {9}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--platform=h100"], "needs the package jax_cuda13_plugin of the extra 'aot'; in the source folder of rnnlab"),
        *nightly.only(
            (["--platform=a100"], "error: --platform: unknown 'a100'; allowed: h100, v5e"),
            (["--platform=h100", "--mesh=4"], "error: --mesh: '4' is not of the form 4x1, two numbers of devices"),
            (["--platform=h100", "--config.training.step=1"], "unknown field; nearest: --config.training.steps"),
        ),
    ],
)
def test_a_mistake_is_one_line(arguments, message):
    if INSTALLED and "needs the package" in message:
        pytest.skip("the packages are installed")
    config = "--config=configs/lag.py"
    command = [sys.executable, "-m", "rnnlab.aot", config, *arguments]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
