import dataclasses
import io
import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sacrebleu
from flax import nnx

from rnnlab.data.corpus import Example
from rnnlab.data.vocabulary import BOS, EOS, PAD, UNITS, Vocabulary
from rnnlab.errors import UserError
from rnnlab.metrics import METRICS
from rnnlab.models.seq2seq import Seq2Seq
from rnnlab.search import Hypotheses
from rnnlab.tasks.seq2seq.checks import check_metrics
from rnnlab.tasks.seq2seq.ensemble import open_ensemble
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.training import report
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.flow import Flow, FlowProbe, measure_flow
from rnnlab.training.report import best_params
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task, open_task
from tests import nightly
from tests.runs import evaluate, predict


def test_the_loss_is_the_mean_over_labels_one_pair_at_a_time(trained):
    experiment = open_task(trained)
    _, params = best_params(experiment)
    merge, _ = split_model(experiment.make_model())
    logits_of = jax.jit(lambda params, *given: merge(params)(*given))
    examples = experiment.corpus.read("validation")[:3]
    total = labels = 0
    for example in examples:
        source, target = experiment.source.encode(example.source), experiment.target.encode(example.targets[0])
        column = [jnp.array(ids)[:, None] for ids in (source, [1, *target], [*target, 2])]
        logits = logits_of(params, column[0], jnp.array([len(source)]), column[1])
        total += float(optax.softmax_cross_entropy_with_integer_labels(logits, column[2]).sum())
        labels += len(target) + 1
    assert Evaluator(experiment, beam_size=1).loss(params, examples) == pytest.approx(total / labels, rel=1e-4)


def test_a_trained_model_scores_well_in_one_json_line_last_on_stdout(trained, capsys):
    evaluate(open_task(trained), "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"split", "examples", "loss", "perplexity", "wer", "per"} == set(scores)
    assert (scores["split"], scores["examples"]) == ("test", 50)
    assert scores["perplexity"] == pytest.approx(np.exp(scores["loss"]))
    assert scores["per"] < 10


def test_results_depend_on_neither_batch_size_nor_order(trained):
    experiment = open_task(trained)
    _, params = best_params(experiment)
    sources = [example.source for example in experiment.corpus.read("test")]
    wanted = Evaluator(experiment, beam_size=2).predict(params, sources)
    experiment.config.evaluation.batch_size = 3
    assert Evaluator(experiment, beam_size=2).predict(params, sources[::-1]) == wanted[::-1]


def test_work_directories_answer_together_by_the_mean_of_their_probabilities(trained, tmp_path):
    """A model beside one that knows nothing: the mean of its probabilities and even ones."""
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    _, params = best_params(open_task(trained))
    silent = {name: 0 * value for name, value in params.items()}
    together = open_ensemble([trained, other])
    _, both = best_params(together)
    assert set(both) == {f"models/{i}/{name}" for i in (0, 1) for name in params}
    both |= {f"models/1/{name}": value for name, value in silent.items()}
    (example,) = together.corpus.read("test")[:1]
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
    experiment = create_task(config, tmp_path)
    _, params = split_model(experiment.make_model())
    store = Checkpoints(tmp_path / "best", keep=2)
    for step, factor in ((1, 5.0), (2, 1.0), (3, 3.0)):
        store.save(step, {name: factor * value for name, value in params.items()}, {})
    store.close()
    step, mean = best_params(experiment)
    assert step == 3
    jax.tree.map(lambda m, p: np.testing.assert_allclose(m, 2 * p, rtol=1e-6), mean, params)
    member = open_task(tmp_path)  # whose own config asks for one
    member.config.evaluation.average = 1
    _, both = best_params(dataclasses.replace(experiment, others=(member,)))
    for name, value in mean.items():
        np.testing.assert_array_equal(both[f"models/0/{name}"], value)
        np.testing.assert_array_equal(both[f"models/1/{name}"], value)
    config.evaluation.average = 3
    again = best_params(experiment)[1]
    jax.tree.map(np.testing.assert_array_equal, again, mean)
    assert "has 2 best checkpoints, fewer than evaluation.average=3" in caplog.text


def test_free_running_loss_and_token_bleu_follow_their_definitions(trained):
    experiment = open_task(trained)
    _, params = best_params(experiment)
    experiment.config.evaluation.metrics = "free_running_loss,token_bleu"
    number = jnp.arange(len(experiment.target))
    wrong = jnp.where(number > 3, 3.0 * (-1.0) ** number, 0.0)  # so that the most likely token is often not the label
    params |= {"decoder/output/bias": params["decoder/output/bias"] + wrong}
    examples = experiment.corpus.read("test")[:6]
    scores = Evaluator(experiment, beam_size=1).evaluate(params, examples)
    model, total, labels, said = split_model(experiment.make_model())[0](params), 0.0, 0, []
    encode, step = nnx.jit(Seq2Seq.encode), nnx.jit(Seq2Seq.step)
    for example in examples:
        source, target = experiment.source.encode(example.source), experiment.target.encode(example.targets[0])
        states, memory = encode(model, jnp.array(source)[:, None], jnp.array([len(source)]))
        token, tokens = jnp.array([1]), []
        for label in [*target, 2]:
            states, (logits, _) = step(model, states, token, memory)
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


def _repeating(monkeypatch, experiment, examples):
    """An evaluator of a model that predicts the last answer of each example."""
    evaluator = Evaluator(experiment, beam_size=1)
    ids = [[*experiment.target.encode(example.targets[-1]), EOS, PAD] for example in examples]
    outputs = [Hypotheses(np.array([row]), np.zeros(1), np.zeros((1, len(row)))) for row in ids]
    monkeypatch.setattr(evaluator, "search", lambda *_: outputs)
    monkeypatch.setattr(evaluator, "loss", lambda *_, **__: 0.0)
    return evaluator


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_model_that_repeats_a_reference_gets_perfect_scores(trained, monkeypatch, unit, reverse):
    pytest.importorskip("spacy" if unit == "spacy" else "regex")
    texts = ["Hello, world.", "It's a dog.", "A well-known man!", "Café 3.14 - 1,000 (x)"]
    target = Vocabulary.build(texts, unit=unit, reverse=reverse, lowercase=reverse, language="en", size=200)
    experiment = dataclasses.replace(open_task(trained), target=target)
    experiment.config.evaluation.metrics = ",".join(METRICS)
    examples = [Example("a", (other, text)) for text, other in zip(texts, texts[1:] + texts[:1], strict=True)]
    scores = _repeating(monkeypatch, experiment, examples).evaluate({}, examples)
    best = {name: 0.0 if metric.lower_is_better else pytest.approx(100) for name, metric in METRICS.items()}
    assert {name: scores[name] for name in METRICS} == best


def test_scripts_without_blanks_are_warned_of_until_bleu_has_a_tokenizer(trained, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    examples = [Example("a", ("今天天气非常好",)), Example("b", ("我们去公园",))]
    target = Vocabulary.build([example.targets[0] for example in examples], unit="character")
    experiment = dataclasses.replace(open_task(trained), target=target)
    for tokenizer, warnings in (("zh", 0), ("13a", 1)):
        experiment.config.evaluation.update({"metrics": "bleu", "bleu_tokenizer": tokenizer})
        evaluator = _repeating(monkeypatch, experiment, examples)
        for _ in range(2):
            scores = evaluator.evaluate({}, examples)
            assert scores["bleu"] == pytest.approx(100)
            assert f"tok:{tokenizer}" in scores["bleu_signature"]
        assert caplog.text.count("bleu_tokenizer: '13a' splits at blanks") == warnings


def test_metrics_and_tokenizers_that_there_are_not_are_refused(tiny_config):
    with pytest.raises(UserError, match=r"evaluation\.metrics: unknown 'bleux'; allowed: wer, per, cer"):
        check_metrics(tiny_config(evaluation__metrics="bleux"))
    with pytest.raises(UserError, match=r"evaluation\.bleu_tokenizer: unknown 'zhh'; allowed: .*zh"):
        check_metrics(tiny_config(evaluation__bleu_tokenizer="zhh"))


class _Endless:
    """Runs whose models never end an output: whatever is searched, is searched as far as it may be."""

    def __init__(self, workdirs, monkeypatch):
        self.experiment = open_ensemble(workdirs)
        found = best_params(self.experiment)
        ended = {n: v.at[EOS].set(-1e9) if n.endswith("output/bias") else v for n, v in found[1].items()}
        monkeypatch.setattr(report, "best_params", lambda _: (found[0], ended))
        monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)

    def predict(self, words, **options):
        answers = io.BytesIO()
        predict(self.experiment, io.BytesIO("\n".join(words).encode()), answers, **options)
        return answers.getvalue().decode().splitlines()


@pytest.mark.parametrize(
    ("members", "options"),
    [
        (2, {"beam_size": 2}),
        *nightly.only((1, {"beam_size": 1}), (1, {"beam_size": 2, "temperature": 1.0})),
    ],
)
def test_the_longest_output_follows_from_the_lengths_of_training_and_what_reaches_it_is_counted(
    trained, monkeypatch, caplog, members, options
):
    """Targets of training have at most 2 tokens for one of the source, and 12 in all."""
    endless = _Endless([trained] * members, monkeypatch)
    experiment, words = endless.experiment, ["a", "abc", "gggggg", "gggggggg"]
    experiment.config.evaluation.update(options)
    lengths = experiment.lengths
    assert (lengths.source, lengths.ratio) == (6, 2.0)
    wanted = [round(1.5 * n + 0.49) + 10 for n in (2, 6, lengths.target, lengths.target + 4)]
    assert [len(line.split(" ")) for line in endless.predict(words)] == wanted
    assert "4 of 4 lines have outputs that reached the maximum length" in caplog.text
    experiment.config.evaluation.max_tokens = 2
    assert [len(line.split(" ")) for line in endless.predict(words)] == [2] * 4
    evaluate(experiment, "test")
    assert "50 of 50 outputs reached the maximum length" in caplog.text


def test_neither_scheduled_sampling_nor_the_free_running_loss_reads_what_no_search_predicts(trained):
    """A model that finds padding and BOS most likely everywhere reads what greedy search would predict."""
    experiment = open_task(trained)
    _, params = best_params(experiment)
    params |= {"decoder/output/bias": params["decoder/output/bias"].at[jnp.array([PAD, BOS])].set(50.0)}
    example = experiment.corpus.read("test")[0]
    source, target = experiment.source.encode(example.source), experiment.target.encode(example.targets[0])
    for side in ("encoder", "decoder"):
        experiment.config.model[side].dropout = 0.0
    model = split_model(experiment.make_model())[0](params)
    column = jnp.array(source)[:, None], jnp.array([len(source)])
    states, memory = model.encode(*column)
    token, wanted = jnp.array([BOS]), []
    for _ in [*target, EOS]:
        states, (logits, _) = model.step(states, token, memory)
        token = EOS + logits[:, EOS:].argmax(-1)
        wanted.append(logits[0])
    inputs = jnp.array([BOS, *target])[:, None]
    rngs = nnx.Rngs(sampling=0)
    sampled = model(*column, inputs, rngs=rngs, teacher_forcing=jnp.zeros(()))[:, 0]
    np.testing.assert_allclose(sampled, jnp.stack(wanted), rtol=1e-3, atol=1e-3)
    loss = optax.softmax_cross_entropy_with_integer_labels(jnp.stack(wanted), jnp.array([*target, EOS])).mean()
    found = Evaluator(experiment, beam_size=1).loss(params, [example], forced=False)
    assert found == pytest.approx(float(loss), rel=1e-3)


def test_scores_that_are_not_finite_are_null_in_json(trained, tmp_path, capsys, monkeypatch):
    shutil.copytree(trained, tmp_path / "w")
    experiment = open_task(tmp_path / "w")
    step, params = best_params(experiment)
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
    monkeypatch.setattr(FlowProbe, "measure_all", lambda *_: {"decoder/0": flow}.items())
    measure_flow(experiment, best_params(experiment)[1], "validation")
    found = json.loads(capsys.readouterr().out.splitlines()[-1], parse_constant=pytest.fail)["decoder/0"]
    assert found == {"exponent": None, "dimension": None, "log_norm": 0.0, "log_norms": [None, 1.0], "gates": {}}
