"""The fields of the gradient-flow lab; lists are words separated by commas or blanks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, Allowed, Fields, field, make_config, split_words
from rnnlab.tasks.fields import cells_field, problem_field

if TYPE_CHECKING:
    from rnnlab.data.lag_problems import LagProblem

STUDIES = (
    "criterion",
    "flow",
    "newton",
    "direction",
    "reach",
    "explosion",
    "vanishing",
    "lengths",
    "warm",
    "generation",
    "context",
    "outputs",
    "dropout",
    "cost",
)
_LONGER_THAN_ONE = Allowed("2 or above", lambda value: value >= 2)
_GRID: Fields = {  # of training runs
    "task": problem_field("adding"),
    "cells": cells_field("rnn"),
    "clippings": field("norm:1", "none, norm:limit, value:limit"),
    "interventions": field("default", "of rnnlab.gradient_flow.Treatment"),
    "lags": field("50", "lags of the task, in steps"),
    "optimizer": field("adam", "one of rnnlab.training.optimizer.OPTIMIZERS"),
    "learning_rates": field("0.003", "one for all, or cell:rate for each"),
    "steps": field(600, "maximum training steps", POSITIVE),
    "solved": field(0.01, "validation loss at which a run ends", NOT_NEGATIVE),
}
_LOOK: Fields = {  # of untrained cells
    "cells": cells_field("rnn,gru,lstm"),
    "interventions": field("default", "of rnnlab.gradient_flow.Treatment"),
    "lag": field(200, "steps of a sequence", _LONGER_THAN_ONE),
}
_TRANSLATIONS: Fields = {  # of training runs of an encoder and a decoder
    "cells": cells_field("gru"),
    "interventions": field(
        "context:init",
        "context:init|every_step, attention:none|dot|general, dropout:rate, target:copy|double|halve|phones, with + "
        "between them",
    ),
    "lags": field("24", "symbols of the longest source"),
    "features": field(128, "units of every state in this study", POSITIVE),
    "learning_rate": field(0.003, "of Adam", POSITIVE),
    "steps": field(1000, "training steps", POSITIVE),
}


def _changed(fields: Fields, **defaults: Any) -> Fields:
    """Returns the same fields with other defaults."""
    return {name: own._replace(default=defaults.get(name, own.default)) for name, own in fields.items()}


FIELDS: Fields = {
    "experiment": field("gradient_flow", "the lab"),
    "studies": field(",".join(STUDIES), "the parts below to run, or the names of statements"),
    "seeds": field(5, "runs of each setting", POSITIVE),
    "features": field(64, "units of every state", POSITIVE),
    "batch_size": field(64, "sequences", POSITIVE),
    "measure_every": field(200, "training steps between two measurements of the gradient flow", POSITIVE),
    "cost": {
        "cells": cells_field("rnn,gru,lstm"),
        "lengths": field("128,256,512,1024,2048", "steps of a sequence"),
        "repeats": field(5, "repetitions; the best time is used", POSITIVE),
    },
    "reach": _changed(
        _GRID,
        cells="rnn,gru,lstm",
        lags="50,100,200",
        learning_rates="rnn:0.001,gru:0.003,lstm:0.01",
        steps=1600,
    ),
    "explosion": _changed(
        _GRID,
        interventions="gaussian:2",
        clippings="none,norm:1,value:0.1",
        optimizer="sgd",
        learning_rates="0.1",
        steps=200,
    ),
    "vanishing": _changed(
        _GRID,
        interventions="orthogonal:0.8",
        lags="25,50,100",
        clippings="none,norm:1,value:0.1",
        learning_rates="0.001",
    ),
    "lengths": _changed(_GRID, cells="gru,lstm", learning_rates="gru:0.003,lstm:0.01", steps=1600),
    "direction": {  # of clipped gradients
        **_changed(_LOOK, lag=50),
        "clippings": field("norm:1,norm:0.1,norm:0.01,value:0.1,value:0.01,value:0.001", "norm:limit, value:limit"),
    },
    "context": _changed(_TRANSLATIONS, interventions="context:init context:every_step attention:general"),
    "outputs": _changed(
        _TRANSLATIONS, interventions="attention:general+target:double attention:general+target:halve", lags="12"
    ),
    "dropout": _changed(_TRANSLATIONS, interventions="dropout:0+target:phones dropout:0.3+target:phones", steps=2000),
    "warm": _changed(  # parallel in time during training; `solved` ends no run
        _GRID,
        cells="rnn,gru,lstm",
        lags="100",
        learning_rates="rnn:0.001,gru:0.003,lstm:0.01",
        steps=1000,
    ),
    "generation": {  # autoregressive, over 20 times the training length
        **_changed(_GRID, task="wave", cells="gru", lags="100", learning_rates="0.01", steps=2000),
        "features": field(3, "units of every state in this study", POSITIVE),
    },
    "criterion": {  # growth of a gradient against the singular values of R
        **_changed(
            _LOOK,
            interventions="gaussian:0.4 gaussian:0.7 gaussian:0.9 gaussian:1.2 gaussian:2 orthogonal:0.9 "
            "orthogonal:1.1 orthogonal:1.5",
        ),
        "cells": cells_field("linear,rnn", also="linear"),
    },
    "flow": _changed(  # every cell's long-term Jacobians at its start
        _LOOK, cells="rnn,rnn_relu,gru,gru_reset_before,lstm", interventions="default chrono forget:5", lag=400
    ),
    "newton": _changed(  # parallel in time, against the largest Lyapunov exponent
        _LOOK,
        interventions="gaussian:0.5 gaussian:0.8 gaussian:1 gaussian:1.2 gaussian:1.5 gaussian:2",
        lag=256,
    ),
}


def default_config() -> ConfigDict:
    """Makes the config of the default size: half an hour on two cores."""
    return make_config(FIELDS)


def words(text: str, *, where: str) -> list[str]:
    """Splits a list into words.

    Raises:
      ValueError: the list is empty.
    """
    found = split_words(text)
    if not found:
        raise ValueError(f"config.{where}: is empty")
    return found


def numbers(text: str, *, where: str) -> list[int]:
    """Parses a list of whole numbers above 0.

    Raises:
      ValueError: an empty list, or a word that is not such a number.
    """
    found = words(text, where=where)
    for word in found:
        if not (word.isdecimal() and int(word)):
            raise ValueError(f"config.{where}: {word!r} is not a whole number above 0")
    return [int(word) for word in found]


def read_task(text: str, *, where: str) -> Callable[[int], "LagProblem"]:
    """Finds a problem by its name, with its options after a colon ("mnist:prepared=/data"), for any lag.

    Raises:
      ValueError: as `rnnlab.data.lag_problems.find_problem`, with the name of the field.
    """
    from rnnlab.data.lag_problems import find_problem  # late: a mistyped field must not wait for jax

    try:
        return find_problem(text)
    except ValueError as error:
        raise ValueError(f"config.{where}: {error}") from None
