import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracle import assert_close, draw_module, run_module

from rnnlab.models import LanguageModel
from tests import nightly

TOKENS = jax.random.randint(jax.random.key(0), (9, 3), 0, 7)
STACKS = [
    {"cell": "lstm", "features": 8, "layers": 2},
    {"cell": "gru", "features": 5, "layers": 2, "sizes": "6,8"},
    {"cell": "min_gru", "features": 8, "layers": 2, "block": "prenorm"},
    {"cell": "gru", "features": 8, "layers": 2, "block": "residual"},
]


def _model(**options):
    return draw_module(lambda: LanguageModel(7, rngs=nnx.Rngs(1), **({"embedding": 0} | options)))


@pytest.mark.parametrize("stack", STACKS, ids=lambda stack: stack.get("block", "plain"))
@pytest.mark.parametrize(
    "embedding", [*nightly.only({"embedding": 0}), {"embedding": 8, "tied_embeddings": True}], ids=str
)
def test_pieces_with_carried_states_read_as_the_whole_and_padding_changes_nothing(stack, embedding):
    model = _model(**stack, **embedding)
    whole = run_module(model, TOKENS, model.start(3))
    states, logits = model.start(3), []
    for begin, end in ((0, 1), (1, 6), (6, 9)):
        padded = jnp.pad(TOKENS[begin:end], ((0, 4), (0, 0)))
        read = run_module(model, padded, states, jnp.full(3, end - begin))
        states = read.states
        logits.append(read.logits[: end - begin])
    assert_close(jnp.concatenate(logits), whole.logits)
    jax.tree.map(assert_close, states, whole.states)
    assert whole.logits.shape == (9, 3, 7)


def test_one_hot_vectors_are_what_an_embedding_of_the_identity_gives():
    free = _model(cell="gru", features=5)
    embedded = _model(cell="gru", features=5, embedding=7)
    graph, params = nnx.split(embedded)
    own = nnx.split(free)[1]
    params["stack"], params["output"] = own["stack"], own["output"]
    params["embedding"]["embedding"] = nnx.Param(jnp.eye(7))
    other = nnx.merge(graph, params)
    assert_close(other(TOKENS, other.start(3)).logits, free(TOKENS, free.start(3)).logits)


def test_embedding_dropout_takes_whole_tokens_out_and_only_in_training():
    model = _model(cell="rnn", features=5, embedding=16, embedding_dropout=0.5)
    embedded = jnp.asarray(model.embedding.embedding[...])
    found = np.asarray(model._embed(TOKENS[:1], nnx.Rngs(dropout=0)))
    kept = {}
    for token, row in zip(TOKENS[0].tolist(), found[0], strict=True):
        scale = row / np.asarray(embedded[token])
        np.testing.assert_allclose(scale, scale[0], rtol=1e-5)
        assert kept.setdefault(token, float(scale[0].round(4))) in (0.0, 2.0)
    many = jnp.tile(jnp.arange(7), (2, 1))
    table = model._embed(many, nnx.Rngs(dropout=0)).table
    assert 0 < (np.asarray(table) == 0).all(1).sum() < 7
    assert_close(model(TOKENS, model.start(3)).logits, model(TOKENS, model.start(3)).logits)
    a, b = (model(TOKENS, model.start(3), rngs=nnx.Rngs(dropout=seed)).logits for seed in (0, 1))
    assert not np.allclose(a, b)


def test_tied_embeddings_are_the_output_layer():
    model = _model(cell="gru", features=4, embedding=4, tied_embeddings=True)
    read = model(TOKENS, model.start(3))
    assert_close(read.logits, read.outputs @ model.embedding.embedding[...].T + model.output_bias[...])
    assert not hasattr(model, "output")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the last layer has 5 features, the embedding 4"):
        _model(cell="gru", features=5, embedding=4, tied_embeddings=True)
    for option in ({"tied_embeddings": True}, {"embedding_dropout": 0.1}, {"input_dropout": 0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}: .* needs an embedding"):
            _model(cell="gru", features=5, **option)
    with pytest.raises(ValueError, match="norm: 'batch' would leak later steps into a step"):
        _model(cell="gru", features=5, block="prenorm", norm="batch")
