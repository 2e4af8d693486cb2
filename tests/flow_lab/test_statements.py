"""Synthetic rows with a known verdict."""

import pytest

from rnnlab.flow_lab.config import default_config
from rnnlab.flow_lab.results import Row, Unit
from rnnlab.flow_lab.statements import judge
from rnnlab.flow_lab.table import Table, held
from rnnlab.flow_lab.verdicts import CONDITION, FAILS, HOLDS, OPEN

SEEDS = range(5)


def _rows(study, quantity, values, *, cell="rnn", clipping="none", lag=50, step=0):
    return [Row(Unit(study, cell, "default", clipping, lag, s), step, quantity, v) for s, v in enumerate(values)]


def _verdicts(rows):
    return {finding.name: finding.verdict for finding in judge(Table(rows, default_config()))}


def _criterion(growth):
    singular = [-0.5, -0.2, 0.1, 0.4, 0.9]
    pairs = (("growth", growth), ("log_singular_value", singular), ("step_norm", singular), ("log_eigenvalue", growth))
    return [row for quantity, values in pairs for row in _rows("criterion", quantity, values)]


@pytest.mark.parametrize(
    ("growth", "verdict"),
    [
        ([-0.5, -0.3, 0.1, 0.3, 0.8], HOLDS),
        ([-0.5, -0.3, -0.1, 0.3, 0.8], CONDITION),  # above 1 and yet it vanishes
        ([-0.5, 0.3, -0.1, 0.3, 0.8], FAILS),
    ],
)
def test_the_singular_value_criterion(growth, verdict):
    assert _verdicts(_criterion(growth))["singular_value"] == verdict


@pytest.mark.parametrize(("with_it", "verdict"), [(0.05, HOLDS), (0.165, FAILS)])
def test_clipping_against_vanishing_is_judged_by_the_loss_that_it_gains(with_it, verdict):
    noise = [0.001 * s for s in SEEDS]
    rows = _rows("vanishing", "final_loss", [0.167 + n for n in noise])
    rows += _rows("vanishing", "final_loss", [with_it + n for n in noise], clipping="norm:1")
    assert _verdicts(rows)["vanishing"] == verdict


@pytest.mark.parametrize(
    ("diverged", "loss", "verdict"), [(0, 0.05, HOLDS), (0, 0.3, CONDITION), (1, float("nan"), FAILS)]
)
def test_clipping_against_explosion_must_keep_runs_finite_and_let_them_learn(diverged, loss, verdict):
    rows = _rows("explosion", "diverged", [1] * 5) + _rows("explosion", "diverged", [diverged] * 5, clipping="norm:1")
    rows += _rows("explosion", "final_loss", [loss] * 5, clipping="norm:1")
    assert _verdicts(rows)["explosion"] == verdict


@pytest.mark.parametrize(("rnn", "verdict"), [(0.17, HOLDS), (0.005, CONDITION)])
def test_gated_cells_must_learn_what_the_vanilla_one_does_not(rnn, verdict):
    rows = _rows("reach", "final_loss", [0.005] * 5, cell="gru") + _rows("reach", "final_loss", [rnn] * 5)
    rows += [row for cell in ("gru", "rnn") for row in _rows("reach", "parameters", [7] * 5, cell=cell)]
    rows += _rows("reach", "solved", [1] * 5, cell="gru")
    assert _verdicts(rows)["gated"] == verdict


@pytest.mark.parametrize(("exponent", "verdict"), [(1.0, HOLDS), (0.2, FAILS)])
def test_time_against_length_is_a_power(exponent, verdict):
    rows = []
    for length in (100, 200, 400):
        for repeat, noise in enumerate((1.0, 1.01, 0.99)):
            rows += _rows("cost", "seconds", [noise * length**exponent], lag=length, step=repeat)
    assert _verdicts(rows)["sequential"] == verdict


@pytest.mark.parametrize(("solved", "verdict"), [([0] * 5, HOLDS), ([1, 1, 1, 0, 0], CONDITION), ([1] * 5, FAILS)])
def test_steps_that_newton_solves_at_once_need_not_wait(solved, verdict):
    rows = _rows("newton", "exponent", [-0.5, -0.2, -0.1, 0.1, 0.2]) + _rows("newton", "solved_full", solved)
    assert _verdicts(rows)["one_by_one"] == verdict


@pytest.mark.parametrize(
    ("solved", "warm", "verdict"), [(1, 3.0, HOLDS), (0, 3.0, CONDITION), (1, 9.0, CONDITION), (0, 9.0, FAILS)]
)
def test_a_start_from_a_step_ago_must_be_solved_and_sooner(solved, warm, verdict):
    counts = (("solved", [solved] * 5), ("iterations", [6.0, 7.0, 7.0, 6.0, 7.0]), ("warm", [warm] * 5))
    kinds = ("full", "diagonal")
    rows = [row for quantity, values in counts for kind in kinds for row in _rows("warm", f"{quantity}_{kind}", values)]
    assert _verdicts(rows)["warm"] == verdict


@pytest.mark.parametrize(("seconds", "verdict"), [((2.0, 3.0, 4.0), HOLDS), ((2.0, 0.3, 4.0), CONDITION)])
def test_what_is_autoregressive_must_be_slower_all_at_once(seconds, verdict):
    noise = (1.0, 1.01, 0.99)
    rows = _rows("generation", "seconds_sequential", [1.0] * 3)
    for way, time in zip(("full", "diagonal", "chunks"), seconds, strict=True):
        rows += _rows("generation", f"seconds_{way}", [time * n for n in noise]) + _rows(
            "generation", f"solved_{way}", [1, 1, 0]
        )
        rows += _rows("generation", f"iterations_{way}", [5, 6, 7])
    assert _verdicts(rows)["generation"] == verdict


def test_a_run_that_ended_keeps_its_last_value_beside_those_that_go_on():
    rows = [row for step in (0, 50) for row in _rows("reach", "validation_loss", [0.1, 0.2], step=step)]
    rows += _rows("reach", "validation_loss", [0.05], step=100)
    assert sorted(row.value for row in held(rows) if row.step == 100) == [0.05, 0.2]
    assert len(held(rows)) == 6


@pytest.mark.parametrize(("right", "verdict"), [((1.0, 1.0), HOLDS), ((1.0, 0.4), CONDITION), ((0.5, 0.4), FAILS)])
def test_one_vector_carries_the_whole_source_if_every_length_is_right(right, verdict):
    noise = [0.001 * s for s in SEEDS]
    rows = [
        row._replace(unit=row.unit._replace(intervention="context:init"))
        for length, share in zip((4, 24), right, strict=True)
        for row in _rows("context", "right", [share - n for n in noise], cell="gru", step=length)
    ]
    assert _verdicts(rows)["one_vector"] == verdict


@pytest.mark.parametrize(("other", "verdict"), [(0.3, HOLDS), (0.9, FAILS)])
def test_a_context_need_only_start_the_decoder_if_nothing_else_is_better(other, verdict):
    noise = [0.001 * s for s in SEEDS]
    rows = [
        row._replace(unit=row.unit._replace(intervention=name))
        for name, share in (("context:init", 0.6), ("attention:general", other))
        for row in _rows("context", "right", [share + n * share for n in noise], cell="gru", step=8)
    ]
    assert _verdicts(rows)["at_the_start"] == verdict


@pytest.mark.parametrize(("right", "verdict"), [(1.0, HOLDS), (0.2, FAILS)])
def test_outputs_of_other_lengths_must_be_right(right, verdict):
    rows = _rows("outputs", "right", [right - 0.001 * s for s in SEEDS], cell="gru", step=4)
    assert _verdicts(rows)["other_lengths"] == verdict


@pytest.mark.parametrize(("with_it", "verdict"), [(0.8, HOLDS), (1.1, FAILS)])
def test_dropout_on_embeddings_is_judged_by_the_test_loss(with_it, verdict):
    rows = [
        row._replace(unit=row.unit._replace(intervention=name))
        for name, loss in (("dropout:0", 0.95), ("dropout:0.3", with_it))
        for row in _rows("dropout", "loss", [loss * (1 + 0.001 * s) for s in SEEDS], cell="gru")
    ]
    assert _verdicts(rows)["embedding_dropout"] == verdict


@pytest.mark.parametrize(("loss", "verdict"), [(0.01, HOLDS), (0.16, FAILS)])
def test_a_network_must_keep_what_it_learnt_at_another_length(loss, verdict):
    rows = _rows("lengths", "loss", [loss + 0.0001 * s for s in SEEDS], cell="gru", step=100)
    assert _verdicts(rows)["any_length"] == verdict


def test_the_interval_of_a_single_seed_is_missing():
    (finding,) = judge(Table(_rows("outputs", "right", [0.99], cell="gru", step=4), default_config()))
    assert finding.verdict == OPEN
    assert "one seed; an interval needs two" in finding.checks[0].figure
