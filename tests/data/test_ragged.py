import numpy as np
import pytest

from rnnlab.data import ragged
from rnnlab.data.ragged import Ragged


@pytest.mark.parametrize("block", [1, 3, 100])
def test_rows_are_taken_in_any_order_and_as_often_as_asked_for(monkeypatch, block):
    monkeypatch.setattr(ragged, "_BLOCK", block)
    rows = [[5, 6, 7], [], [8], [], [9, 10], [11]]
    held = Ragged.of(iter(rows))
    for wanted in ([0, 1, 2, 3, 4, 5], [4, 4, 1, 0], [1, 3], []):
        taken = held.take(np.array(wanted, np.int64))
        assert [taken.row(i) for i in range(len(taken))] == [rows[i] for i in wanted]
        assert taken.share(5) == (sum(5 in rows[i] for i in wanted) / max(1, sum(len(rows[i]) for i in wanted)))
