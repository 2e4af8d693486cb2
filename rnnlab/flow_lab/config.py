"""Every field of the gradient-flow lab, with its default and its meaning; lists are words between commas or blanks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from rnnlab.config import split_words

if TYPE_CHECKING:
    from rnnlab.data.lag_problems import LagProblem

STUDIES = ("criterion", "flow", "newton", "reach", "explosion", "vanishing", "warm", "generation", "cost")
_DEFAULTS_OF_GRIDS: dict[str, Any] = {
    "task": "adding",  # of LAG_PROBLEMS, with options: associative_recall:pairs=64,vocabulary=8192
    "cells": "rnn",
    "clippings": "norm:1",  # of none, norm:limit, value:limit
    "interventions": "default",  # of rnnlab.gradient_flow.Treatment
    "lags": "50",
    "optimizer": "adam",
    "learning_rates": "0.003",  # one for all, or cell:rate for each
    "steps": 600,
    "solved": 0.01,  # loss on the test split at which a run ends
}
_GRIDS: dict[str, dict[str, Any]] = {  # trainings, and in what they differ from those defaults
    "reach": {
        "cells": "rnn,gru,lstm",
        "lags": "50,100,200",
        "learning_rates": "rnn:0.001,gru:0.003,lstm:0.01",
        "steps": 1600,
    },
    "explosion": {
        "interventions": "gaussian:2",
        "clippings": "none,norm:1,value:0.1",
        "optimizer": "sgd",
        "learning_rates": "0.1",
        "steps": 200,
    },
    "vanishing": {
        "interventions": "orthogonal:0.8",
        "lags": "25,50,100",
        "clippings": "none,norm:1,value:0.1",
        "learning_rates": "0.001",
    },
    "warm": {  # all steps at once on the way of a training; `solved` ends none
        "cells": "rnn,gru,lstm",
        "lags": "100",
        "learning_rates": "rnn:0.001,gru:0.003,lstm:0.01",
        "steps": 1000,
    },
    "generation": {  # a network that hears what it says, over 20 times the length that it learnt from
        "task": "wave",
        "cells": "gru",
        "lags": "100",
        "features": 3,
        "learning_rates": "0.01",
        "steps": 2000,
    },
}
_LOOKS: dict[str, dict[str, Any]] = {
    "criterion": {  # growth of a gradient beside the singular values of R
        "cells": "linear,rnn",
        "interventions": "gaussian:0.4 gaussian:0.7 gaussian:0.9 gaussian:1.2 gaussian:2 orthogonal:0.9 "
        "orthogonal:1.1 orthogonal:1.5",
        "lag": 200,
    },
    "flow": {  # every cell's long-term Jacobians at its start
        "cells": "rnn,rnn_relu,gru,gru_reset_before,lstm",
        "interventions": "default chrono forget:5",
        "lag": 400,
    },
    "newton": {  # all steps at once, beside the largest Lyapunov exponent
        "cells": "rnn,gru,lstm",
        "interventions": "gaussian:0.5 gaussian:0.8 gaussian:1 gaussian:1.2 gaussian:1.5 gaussian:2",
        "lag": 256,
    },
}


def default_config() -> ConfigDict:
    """The config of the default size: 20 minutes at most on two cores."""
    return ConfigDict(
        {
            "experiment": "gradient_flow",
            "studies": ",".join(STUDIES),  # what is done of the parts below
            "seeds": 5,
            "features": 64,  # of every state
            "batch_size": 64,
            "measure_every": 200,  # training steps between two measurements of the gradient's flow
            "cost": {"cells": "rnn,gru,lstm", "lengths": "128,256,512,1024,2048", "repeats": 5},
        }
        | {name: _DEFAULTS_OF_GRIDS | own for name, own in _GRIDS.items()}
        | _LOOKS
    ).lock()


def words(text: str, *, where: str) -> list[str]:
    """The words of a list.

    Raises:
      ValueError: there are none.
    """
    found = split_words(text)
    if not found:
        raise ValueError(f"config.{where}: names nothing")
    return found


def numbers(text: str, *, where: str) -> list[int]:
    """The whole numbers of a list, each above 0.

    Raises:
      ValueError: none, or a word that is not such a number.
    """
    found = words(text, where=where)
    for word in found:
        if not (word.isdecimal() and int(word)):
            raise ValueError(f"config.{where}: {word!r} is not a whole number above 0")
    return [int(word) for word in found]


def read_task(text: str, *, where: str) -> Callable[[int], "LagProblem"]:
    """The problem of a name, with options of its own after a colon ("mnist:prepared=/data"), for any lag.

    Raises:
      ValueError: as `rnnlab.data.lag_problems.find_problem`, with the name of the field.
    """
    from rnnlab.data.lag_problems import find_problem  # here: a mistyped field of the config costs no import of jax

    try:
        return find_problem(text)
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None
