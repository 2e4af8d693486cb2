import json

import pytest

from rnnlab.tasks.seq2seq.breakdown import breakdown
from rnnlab.training.workdir import create_task
from tests import nightly

_VARIANTS = [
    {"model__attention": "general"},
    {"model__attention": "additive", "model__context": "every_step", "model__tied_embeddings": True},
]


@pytest.mark.parametrize("fields", [*nightly.only(_VARIANTS[0]), _VARIANTS[1]], ids=["general", "additive"])
def test_the_parts_add_up_to_the_step(tiny_config, tmp_path, capsys, fields):
    experiment = create_task(tiny_config(**fields), tmp_path)
    breakdown(experiment)
    lines = capsys.readouterr().out.splitlines()
    milliseconds = json.loads(lines[-1])
    assert list(milliseconds) == [line[:24].strip() for line in lines[-1 - len(milliseconds) : -1]]
    assert milliseconds.pop("input pipeline (host)") > 0
    whole = milliseconds.pop("step")
    assert sum(milliseconds.values()) == pytest.approx(whole, abs=0.01)
    assert all(value > 0 for name, value in milliseconds.items() if name != "the rest")
