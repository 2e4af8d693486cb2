import pytest

from rnnlab.flow_lab.config import STUDIES, default_config
from rnnlab.flow_lab.driver import run


@pytest.fixture(scope="session")
def tiny_lab():
    """The config of a lab that is done in seconds."""
    config = default_config()
    trained_for_longer = ("lengths", "context", "outputs", "dropout")  # each has a test of its own
    config.studies = ",".join(study for study in STUDIES if study not in trained_for_longer)
    config.update({"seeds": 2, "features": 8, "batch_size": 8, "measure_every": 50})
    config.criterion.update({"cells": "linear,rnn", "interventions": "gaussian:0.3 orthogonal:1.3", "lag": 30})
    config.flow.update({"cells": "rnn,lstm", "interventions": "default chrono", "lag": 20})
    config.reach.update({"cells": "rnn,gru", "lags": "6", "steps": 100, "learning_rates": "0.01"})
    config.explosion.update({"clippings": "none,norm:1", "interventions": "gaussian:3", "lags": "20", "steps": 50})
    config.vanishing.update({"clippings": "none,value:0.1", "lags": "6", "steps": 50})
    config.direction.update({"cells": "rnn,lstm", "clippings": "norm:0.01,value:0.001", "lag": 10})
    config.newton.update({"cells": "rnn", "interventions": "gaussian:0.3 gaussian:3", "lag": 40})
    config.warm.update({"cells": "gru", "lags": "16", "steps": 50})
    config.generation.update({"lags": "12", "steps": 50})
    config.cost.update({"cells": "gru,lstm", "lengths": "8,16", "repeats": 2})
    return config


@pytest.fixture(scope="session")
def lab(tiny_lab, tmp_path_factory):
    """The work directory of that lab."""
    workdir = tmp_path_factory.mktemp("lab")
    run(tiny_lab, workdir)
    return workdir
