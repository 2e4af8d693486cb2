"""The Python API on a work directory."""

import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.errors import UserError
from rnnlab.run import load, train
from tests import tiny


def test_a_loaded_run_predicts_and_scores_as_the_commands_do(trained):
    run = load(str(trained))
    assert run.predict(["abc", "", "fade"]) == ["A B C", "", "F A D E"]
    (line,) = run.predict(["abc"], n_best=2, beam_size=3)
    assert line.split("\t")[0] == "A B C"
    assert len(line.split("\t")) == 4
    scores = run.scores("validation", beam_size=1)
    assert (scores["split"], scores["examples"]) == ("validation", tiny.SPLITS["validation"])
    assert run.config.evaluation.beam_size == 2  # options hold for their call alone
    assert run.predict([]) == []


def test_a_loaded_model_is_a_flax_module_with_the_best_parameters(trained):
    run = load(trained)
    source = jnp.array(run.task.source.encode("abc"))[:, None]
    outputs, _ = run.model.encoder(source, jnp.array([3]))
    encoded = run.encode(["abc", "feed"])
    np.testing.assert_allclose(encoded[0].outputs, outputs[:, 0], atol=1e-5)
    assert encoded[1].outputs.shape == (4, 32)
    half = encoded[0].outputs.shape[1] // 2
    np.testing.assert_allclose(encoded[0].states[0][0][:half], encoded[0].outputs[-1, :half], atol=1e-6)  # forwards
    np.testing.assert_allclose(encoded[0].states[0][0][half:], encoded[0].outputs[0, half:], atol=1e-6)
    assert set(run.params) >= {"encoder/embedding/embedding", "decoder/output/kernel"}


def test_where_a_run_looks_sums_to_one_over_the_source(trained):
    weights = load(trained).attention(["abc", "feed"])
    assert [each.shape for each in weights] == [(4, 3), (5, 4)]
    assert all(np.allclose(each.sum(1), 1, atol=1e-5) for each in weights)


def test_a_trained_run_is_returned_with_its_metrics(tiny_config, tmp_path):
    config = tiny_config(training__steps=10, training__evaluate_every=10)
    run = train(config, tmp_path / "w")
    assert run.step == 10
    rows = run.metrics()
    assert {"step": 10, "split": "validation"}.items() <= rows[-1].items()
    assert all(isinstance(row["value"], float) for row in rows)
    assert config.data.files.train == tiny_config().data.files.train  # what was given is left as it was
    assert "best step 10" in repr(run)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda run: run.scores("test", beam=3), "beam: not a field of config.evaluation; allowed: .*beam_size"),
        (lambda run: run.export("x", n_best=3), "n_best: not a field of config.evaluation; allowed: .*beam_size"),
        (lambda run: run.predict(["a"], beam_size=0), r"config\.evaluation\.beam_size: 0 is not allowed"),
        (lambda run: run.predict(["a"], n_best=9), "--n_best: 9 is more than"),
        (lambda run: run.predict(["a"], best=9), "best: not an option of seq2seq; allowed: .*n_best"),
        (lambda run: run.scores("tset"), "split 'tset'"),
    ],
)
def test_what_a_run_does_not_have_is_refused(trained, use, message):
    with pytest.raises(UserError, match=message):
        use(load(trained))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a work directory"):
        load(tmp_path)
