import pytest

from rnnlab.choice import check_choice


def test_an_allowed_value_comes_back_and_another_is_refused_with_the_list():
    assert check_choice("cell", "gru", ["gru", "lstm"]) == "gru"
    with pytest.raises(ValueError, match="cell: unknown value 'grru'; allowed: gru, lstm"):
        check_choice("cell", "grru", ["gru", "lstm"])
