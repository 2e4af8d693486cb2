import pytest

from tests.mutants import MUTANTS


@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_still_has_its_place_in_the_code(name):
    MUTANTS[name].text()
