import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sacrebleu

from rnnlab.errors import UserError
from rnnlab.training import evaluate, measure_flow, open_ensemble
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.evaluation import Evaluator
from rnnlab.training.experiment import create_experiment, open_corpus, open_experiment
from rnnlab.training.flow import Flow, FlowProbe
from rnnlab.training.step import split_model


def test_the_loss_is_the_mean_over_labels_one_pair_at_a_time(trained):
    experiment = open_experiment(trained)
    _, params = experiment.best_params()
    merge, _ = split_model(experiment.make_model())
    examples = open_corpus(experiment.config).read("validation")[:3]
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


def test_work_directories_answer_together_by_the_mean_of_their_probabilities(trained, tmp_path):
    """A model beside one that knows nothing: the mean of its probabilities and even ones."""
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    _, params = open_experiment(trained).best_params()
    silent = {name: 0 * value for name, value in params.items()}
    together = open_ensemble([trained, other])
    _, both = together.best_params()
    assert set(both) == {f"models/{i}/{name}" for i in (0, 1) for name in params}
    both |= {f"models/1/{name}": value for name, value in silent.items()}
    (example,) = open_corpus(together.config).read("test")[:1]
    merge, _ = split_model(together.make_model())
    source, target = together.source.encode(example.source), together.target.encode(example.targets[0])
    column = [jnp.array(ids)[:, None] for ids in (source, [1, *target])]
    p = np.exp(jax.nn.log_softmax(merge(params)(column[0], jnp.array([len(source)]), column[1])))[:, 0]
    picked = (p[np.arange(len(target) + 1), [*target, 2]] + 1 / len(together.target)) / 2
    loss = Evaluator(together, beam_size=1).loss(both, [example])
    assert loss == pytest.approx(-np.log(picked).mean(), rel=1e-4)
    assert Evaluator(together, beam_size=2).predict(both, [example.source])


def test_models_of_other_vocabularies_cannot_answer_together(trained, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    vocabulary = json.loads((other / "target_vocabulary.json").read_text())
    vocabulary["tokens"].append("ZH")
    (other / "target_vocabulary.json").write_text(json.dumps(vocabulary))
    with pytest.raises(UserError, match="other: its target vocabulary is not that of"):
        open_ensemble([trained, other])


def test_best_parameters_may_be_the_mean_of_several_checkpoints(tiny_config, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    config = tiny_config(evaluation__average=2)
    experiment, _ = create_experiment(config, tmp_path)
    _, params = split_model(experiment.make_model())
    store = Checkpoints(tmp_path / "best", keep=2)
    for step, factor in ((1, 5.0), (2, 1.0), (3, 3.0)):
        store.save(step, {name: factor * value for name, value in params.items()}, {})
    store.close()
    step, mean = experiment.best_params()
    assert step == 3
    jax.tree.map(lambda m, p: np.testing.assert_allclose(m, 2 * p, rtol=1e-6), mean, params)
    config.evaluation.average = 3
    again = experiment.best_params()[1]
    jax.tree.map(np.testing.assert_array_equal, again, mean)
    assert "holds 2 best checkpoints, fewer than evaluation.average=3" in caplog.text


def test_free_running_loss_and_token_bleu_follow_their_definitions(trained):
    experiment = open_experiment(trained)
    _, params = experiment.best_params()
    experiment.config.evaluation.metrics = "free_running_loss,token_bleu"
    params |= {"decoder/output/bias": params["decoder/output/bias"] + jnp.linspace(0, 4, len(experiment.target))}
    examples = open_corpus(experiment.config).read("test")[:6]
    scores = Evaluator(experiment, beam_size=1).evaluate(params, examples)
    model, total, labels, said = split_model(experiment.make_model())[0](params), 0.0, 0, []
    for example in examples:
        source, target = experiment.source.encode(example.source), experiment.target.encode(example.targets[0])
        states, memory = model.encode(jnp.array(source)[:, None], jnp.array([len(source)]))
        token, tokens = jnp.array([1]), []
        for label in [*target, 2]:
            states, (logits, _) = model.step(states, token, memory)
            total -= float(jax.nn.log_softmax(logits)[0, label])
            token = logits.argmax(-1)
            tokens.append(int(token[0]))
        labels += len(target) + 1
        said.append(tokens)
    assert scores["free_running_loss"] == pytest.approx(total / labels, rel=1e-4)
    assert scores["free_running_loss"] > scores["loss"] + 0.01
    right = [example.targets[0] for example in examples]
    predicted = Evaluator(experiment, beam_size=1).predict(params, [example.source for example in examples])
    assert scores["token_bleu"] == pytest.approx(sacrebleu.corpus_bleu(predicted, [right], tokenize="none").score)
    assert "tok:none" in scores["token_bleu_signature"]


def test_scores_that_are_not_finite_are_null_in_json(trained, tmp_path, capsys, monkeypatch):
    shutil.copytree(trained, tmp_path / "w")
    experiment = open_experiment(tmp_path / "w")
    step, params = experiment.best_params()
    shutil.rmtree(tmp_path / "w" / "best")
    store = Checkpoints(tmp_path / "w" / "best")
    store.save(step, {name: np.full_like(value, np.nan) for name, value in params.items()}, {})
    store.close()
    evaluate(experiment, "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1], parse_constant=pytest.fail)
    assert scores["loss"] is scores["perplexity"] is None
    assert scores["examples"] == 50
    flow = Flow({"exponent": np.float32(-np.inf), "dimension": np.float32(np.nan), "log_norm": np.float32(0)}, {}, {})
    flow = flow._replace(vectors={"log_norms": np.array([np.nan, 1.0])})
    monkeypatch.setattr(FlowProbe, "measure_all", lambda *_: {"decoder/0": flow})
    measure_flow(experiment, "validation")
    found = json.loads(capsys.readouterr().out.splitlines()[-1], parse_constant=pytest.fail)["decoder/0"]
    assert found == {"exponent": None, "dimension": None, "log_norm": 0.0, "log_norms": [None, 1.0], "gates": {}}
