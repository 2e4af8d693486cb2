import pytest

from rnnlab.errors import UserError
from rnnlab.tasks.language_model.config import check_ranges as check_language_model
from rnnlab.tasks.language_model.config import default_config as language_model
from rnnlab.tasks.seq2seq.config import check_ranges as check_seq2seq
from rnnlab.tasks.seq2seq.config import default_config as seq2seq

TASKS = [(language_model, check_language_model), (seq2seq, check_seq2seq)]


@pytest.mark.parametrize(("default", "check"), TASKS)
@pytest.mark.parametrize("choice", [{"top_k": 5}, {"top_p": 0.9}])
def test_a_choice_among_the_likeliest_needs_a_temperature(default, check, choice):
    config = default()
    config.evaluation.update(choice)
    with pytest.raises(UserError, match=f"evaluation.{next(iter(choice))}: .* no effect"):
        check(config)
    config.evaluation.temperature = 1.0
    check(config)
