import copy

import pytest

from rnnlab.flow_lab.config import default_config
from rnnlab.flow_lab.results import Row, Unit
from rnnlab.flow_lab.scores import score_rows
from rnnlab.flow_lab.table import Table


def _rows(**figures):
    return [
        Row(Unit("reach", "gru", "default", "norm:1", 50, seed), 100, name, value)
        for name, values in figures.items()
        for seed, value in enumerate(values)
    ]


def test_scores_stand_beside_their_floor_and_what_others_published():
    rows = score_rows(Table(_rows(final_loss=[0.01, 0.03], parameters=[1234, 1234]), default_config()))
    assert rows[0][:4] == ("adding", "50", "gru, default, norm:1", "1,234")
    assert rows[0][4].startswith("0.02 (")
    assert rows[0][5:] == ("", "0.167")
    assert ("adding", "600", "Bai et al. 2018: gru", "70 K", "5.3e-5", "", "0.167") in rows


def test_classes_are_scored_by_accuracy_and_published_rows_are_of_the_same_task():
    config = copy.deepcopy(default_config())
    config.reach.task = "parity"
    (row,) = score_rows(Table(_rows(final_loss=[0.7, 0.7], parameters=[9, 9], accuracy=[50.0, 75.0]), config))
    assert row[5].startswith("62.5 (")
    assert row[6] == "0.693"


@pytest.mark.parametrize("rows", [[], _rows(final_loss=[])])
def test_no_run_has_no_score(rows):
    assert score_rows(Table(rows, default_config())) == []
