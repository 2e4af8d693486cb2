import copy
import csv
import os
import re
import shutil
import signal
import xml.etree.ElementTree

import matplotlib.figure
import pytest

from rnnlab.errors import UserError
from rnnlab.files import alone_in
from rnnlab.flow_lab import untrained
from rnnlab.flow_lab.driver import run
from rnnlab.flow_lab.report import write_report
from rnnlab.flow_lab.results import Results, Unit
from rnnlab.flow_lab.runs import LagRun
from rnnlab.flow_lab.studies import read_plan
from rnnlab.training.signals import Interrupted
from tests import nightly


def _figures(workdir):
    return {
        (r.unit, r.step, r.quantity): r.value
        for r in Results(workdir).rows
        if not r.quantity.startswith(("seconds", "measuring"))
    }


@pytest.fixture(autouse=True)
def _few_pictures(request, monkeypatch):
    """Those of `lab` are drawn; the others are made, and not written, which takes longer than to measure."""
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab")
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda _, path, **__: path.write_text("<svg/>"))


@pytest.mark.nightly
def test_every_unit_of_the_plan_leaves_rows(lab, tiny_lab):
    assert Results(lab).done == set(read_plan(tiny_lab))


@pytest.mark.nightly
def test_a_stopped_run_does_what_is_missing_and_ends_with_the_same_figures(lab, tiny_lab, tmp_path, caplog):
    workdir = tmp_path / "stopped"
    shutil.copytree(lab, workdir)
    lines = (workdir / "results.csv").read_text().splitlines(keepends=True)
    missing = [f"reach,gru,default,norm:1,6,{seed}," for seed in (0, 1)]
    (workdir / "results.csv").write_text("".join(line for line in lines if not line.startswith(tuple(missing))))
    (workdir / "report.html").unlink()
    run(tiny_lab, workdir)
    assert _figures(workdir) == _figures(lab)
    assert (workdir / "report.html").exists()


@pytest.mark.nightly
def test_a_run_grows_by_more_seeds_and_keeps_what_it_has(lab, tiny_lab, tmp_path):
    workdir = tmp_path / "grown"
    shutil.copytree(lab, workdir)
    config = copy.deepcopy(tiny_lab)
    config.update({"seeds": 3})
    run(config, workdir)
    assert _figures(lab).items() < _figures(workdir).items()
    assert Unit("reach", "gru", "default", "norm:1", 6, 2) in Results(workdir).done


@pytest.mark.nightly
def test_other_figures_need_another_work_directory(lab, tiny_lab):
    config = copy.deepcopy(tiny_lab)
    config.features = 9
    with pytest.raises(UserError, match=r"config\.features: .* was made with 8, not 9"):
        run(config, lab)


@pytest.mark.nightly
def test_a_file_that_is_no_result_is_refused(lab, tiny_lab, tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="not the results of a run"):
        run(tiny_lab, tmp_path)
    assert (tmp_path / "results.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.nightly
def test_the_csv_is_read_by_anyone(lab):
    with (lab / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    growth = [float(r["value"]) for r in rows if r["quantity"] == "growth" and r["intervention"] == "orthogonal:1.3"]
    assert len(growth) == 4


@pytest.mark.nightly
def test_the_page_needs_nothing_but_itself(lab):
    page = (lab / "report.html").read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    xml.etree.ElementTree.fromstring(re.sub(r"<!doctype html>|<(meta|link|img)[^>]*>", "", page))


@pytest.mark.nightly
def test_page_and_markdown_say_the_same(lab):
    page, markdown = ((lab / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    figures = re.findall(r"!\[.*\]\((.*)\)", markdown)
    assert len(figures) == page.count("<img") == 15
    assert all((lab / figure).exists() for figure in figures)
    assert re.findall(r"\*\*(.*)\*\*", markdown) == re.findall(r'<p class="verdict">(.*?)</p>', page)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("field", "value"),
    [("cell", "rnn"), ("cell", "lstm"), ("cell", "gru"), ("cell", "linear"), ("clipping", "none"), ("seed", 1)],
)
def test_a_report_is_made_of_whatever_was_asked_for(lab, tiny_lab, tmp_path, field, value):
    rows = [row for row in Results(lab).rows if getattr(row.unit, field) != value or row.unit.study == "cost"]
    write_report(tmp_path, tiny_lab, rows)
    assert (tmp_path / "report.html").exists()


@pytest.mark.nightly
def test_a_cost_of_one_cell_alone_is_reported(lab, tiny_lab, tmp_path):
    write_report(tmp_path, tiny_lab, [row for row in Results(lab).rows if row.unit.cell == "gru"])
    assert "An RNN cannot be parallelised" in (tmp_path / "report.md").read_text()


def test_a_study_is_found_by_its_statement(tiny_lab):
    config = copy.deepcopy(tiny_lab)
    config.studies = "singular_value,one_by_one"
    assert {unit.study for unit in read_plan(config)} == {"criterion", "newton"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("context.interventions", "context:twice", "config.context.interventions: context: unknown value 'twice'"),
        ("outputs.lags", "5", "config.outputs.lags: 5 is too short; it must be at least 6"),
        ("direction.clippings", "norm", "config.direction.clippings: 'norm' needs a limit above 0"),
    ],
)
def test_a_mistake_in_a_study_is_refused_with_its_field(tiny_lab, field, value, message):
    config = copy.deepcopy(tiny_lab)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        read_plan(config)


def test_only_the_studies_that_are_named_are_done(tiny_lab):
    config = copy.deepcopy(tiny_lab)
    config.studies = "newton, cost"
    assert {unit.study for unit in read_plan(config)} == {"newton", "cost"}
    config.studies = "newton,costs"
    with pytest.raises(ValueError, match=r"config\.studies: unknown value 'costs'; allowed: criterion, flow, newton"):
        read_plan(config)


@pytest.mark.nightly
def test_a_report_is_written_without_the_figures_that_cannot_be_drawn(lab, tiny_lab, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no such font")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", fail)
    pages = write_report(tmp_path, tiny_lab, Results(lab).rows)
    assert [path.stat().st_size > 1000 for path in pages] == [True, True]
    assert list((tmp_path / "figures").iterdir()) == []


OWN = """
import jax.numpy as jnp
from rnnlab.cells import Cell
from rnnlab.data.lag_problems import adding

def combine(params, state, a, r):
    return (0.5 * state[0] + 0.5 * jnp.tanh(a + r),)

LEAKY = Cell(name="leaky", gates=("h",), combine=combine)

def shorter(lag, *, by: int = 1):
    return adding(lag - by)
"""


def test_a_cell_and_a_problem_of_ones_own_are_studied_and_must_stay_what_they_were(tiny_lab, tmp_path):
    code = tmp_path / "mine.py"
    code.write_text(OWN)
    config = copy.deepcopy(tiny_lab)
    config.update({"studies": "reach", "seeds": 1})
    config.reach.update({"cells": f"rnn,{code}:LEAKY", "task": f"{code}:shorter,by=2", "steps": 50})
    run(config, tmp_path / "lab")
    units = {unit.cell for unit in Results(tmp_path / "lab").done}
    assert units == {"rnn", f"{code}:LEAKY"}
    floors = {row.value for row in Results(tmp_path / "lab").rows if row.quantity == "floor"}
    assert floors == {1 / 6}
    code.write_text(OWN.replace("0.5", "0.25"))
    config.seeds = 2
    with pytest.raises(UserError, match=r"mine\.py has changed since the run was started"):
        run(config, tmp_path / "lab")
    config.reach.task = f"{code}:OWN_NOTHING"
    with pytest.raises(UserError, match="has no OWN_NOTHING"):
        run(config, tmp_path / "other")


@pytest.mark.nightly
@pytest.mark.parametrize("at", ["criterion", "reach"])
def test_a_lab_that_is_asked_to_stop_stops_after_its_unit_and_resumes(lab, tiny_lab, tmp_path, monkeypatch, at):
    """Also where the signal comes between two calls of a training, when nobody waits for it."""
    config = copy.deepcopy(tiny_lab)
    config.studies = at
    plain = untrained._mean_step_norm if at == "criterion" else LagRun.norms

    def asked(*arguments):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
        return plain(*arguments)

    sent: list[None] = []
    monkeypatch.setattr(*((untrained, "_mean_step_norm") if at == "criterion" else (LagRun, "norms")), asked)
    with pytest.raises(Interrupted, match="stopped by SIGINT; the same command resumes from here"):
        run(config, tmp_path / "w")
    done = Results(tmp_path / "w").done
    assert len(done) == (1 if at == "criterion" else 0)
    run(config, tmp_path / "w")
    of_study = {key: value for key, value in _figures(lab).items() if key[0].study == at}
    assert _figures(tmp_path / "w") == of_study


def test_two_labs_in_one_work_directory_are_refused(tiny_lab, tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match="another process is training in it"):
        run(tiny_lab, tmp_path)


@pytest.mark.nightly
def test_a_lab_grows_by_a_cell_with_a_rate_of_its_own_and_the_others_keep_theirs(lab, tiny_lab, tmp_path):
    workdir = tmp_path / "grown"
    shutil.copytree(lab, workdir)
    config = copy.deepcopy(tiny_lab)
    config.reach.update({"cells": "rnn,gru,lstm", "learning_rates": "rnn:0.01,gru:0.02,lstm:0.1"})
    with pytest.raises(UserError, match=r"reach\.learning_rates: gru was trained with 0\.01, not 0\.02"):
        run(config, workdir)
    config.reach.learning_rates = "0.01,lstm:0.1"
    run(config, workdir)
    assert Unit("reach", "lstm", "default", "norm:1", 6, 1) in Results(workdir).done


@pytest.mark.parametrize("study", nightly.only("warm", "generation"))
def test_a_training_that_diverges_ends_its_unit_and_not_the_lab(tiny_lab, tmp_path, study):
    config = copy.deepcopy(tiny_lab)
    config.update({"studies": study, "seeds": 1})
    config[study].learning_rates = "1e30"
    run(config, tmp_path)
    assert [row.value for row in Results(tmp_path).rows if row.quantity == "diverged"] == [1]
    assert (tmp_path / "report.md").exists()


@pytest.mark.nightly
def test_the_report_names_the_problem_that_was_learnt(lab, tiny_lab, tmp_path):
    config = copy.deepcopy(tiny_lab)
    config.reach.task = "parity"
    write_report(tmp_path, config, Results(lab).rows)
    assert "The problem parity at growing T" in (tmp_path / "report.md").read_text()
