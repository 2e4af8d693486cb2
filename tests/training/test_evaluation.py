import json

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.training import evaluate, open_experiment
from rnnlab.training.evaluation import Evaluator
from rnnlab.training.experiment import open_corpus
from rnnlab.training.step import split_model


def test_the_loss_is_the_mean_over_labels_one_pair_at_a_time(trained):
    experiment = open_experiment(trained)
    _, params = experiment.best_params()
    merge, _ = split_model(experiment.make_model())
    examples = open_corpus(experiment.config).read("validation")[:10]
    total = labels = 0
    for example in examples:
        source, target = experiment.source.encode(example.source), experiment.target.encode(example.targets[0])
        column = [jnp.array(ids)[:, None] for ids in (source, [1, *target], [*target, 2])]
        logits = merge(params)(column[0], jnp.array([len(source)]), column[1])
        total += float(optax.softmax_cross_entropy_with_integer_labels(logits, column[2]).sum())
        labels += len(target) + 1
    assert Evaluator(experiment, beam_size=1).loss(params, examples) == pytest.approx(total / labels, rel=1e-4)


def test_a_trained_model_scores_well_in_one_json_line_last_on_stdout(trained, capsys):
    evaluate(open_experiment(trained), "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"split", "examples", "loss", "perplexity", "wer", "per"} == set(scores)
    assert (scores["split"], scores["examples"]) == ("test", 50)
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))
    assert scores["per"] < 10


def test_results_depend_on_neither_batch_size_nor_order(trained):
    experiment = open_experiment(trained)
    _, params = experiment.best_params()
    sources = [example.source for example in open_corpus(experiment.config).read("test")]
    wanted = Evaluator(experiment, beam_size=2).predict(params, sources)
    experiment.config.evaluation.batch_size = 3
    assert Evaluator(experiment, beam_size=2).predict(params, sources[::-1]) == wanted[::-1]
