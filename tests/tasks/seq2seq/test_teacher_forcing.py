import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.config import default_config
from rnnlab.tasks.seq2seq.teacher_forcing import make_teacher_forcing


def _config(decay: str, least: float = 0.1):
    config = default_config()
    config.training.teacher_forcing_decay, config.model.teacher_forcing = decay, least
    return config


@pytest.mark.parametrize(
    ("decay", "formula"),
    [
        ("linear:0.001", lambda i: max(0.1, 1 - 0.001 * i)),
        ("exponential:0.998", lambda i: max(0.1, 0.998**i)),
        ("inverse_sigmoid:200", lambda i: max(0.1, 200 / (200 + np.exp(i / 200)))),
    ],
)
def test_the_share_of_each_step_is_that_of_bengio_2015(decay, formula):
    share = make_teacher_forcing(_config(decay))
    for step in (0, 1, 150, 700, 5000, 10**6):
        with np.errstate(over="ignore"):
            assert float(share(jnp.int32(step))) == pytest.approx(formula(step), rel=1e-3)


def test_without_a_decay_the_share_is_the_models_own():
    assert make_teacher_forcing(_config("none")) is None


@pytest.mark.parametrize(
    "decay", ["lineal:0.1", "linear", "linear:2", "exponential:1", "inverse_sigmoid:0.5", "linear:x"]
)
def test_what_is_no_decay_is_refused(decay):
    with pytest.raises(UserError, match=f"teacher_forcing_decay: '{decay}': unknown; allowed: none, linear:k"):
        make_teacher_forcing(_config(decay))


def test_a_decay_without_effect_is_refused():
    with pytest.raises(UserError, match=r"'linear:0\.1' ends at config\.model\.teacher_forcing, which is 1"):
        make_teacher_forcing(_config("linear:0.1", least=1.0))
