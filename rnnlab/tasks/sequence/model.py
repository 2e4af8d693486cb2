"""The model of a config and its data."""

from typing import NamedTuple

from flax import nnx
from ml_collections import ConfigDict

from rnnlab.data.vocabulary import UNK
from rnnlab.errors import UserError
from rnnlab.models import ManyToMany, ManyToOne
from rnnlab.models.tokens import TokenInputs, WordInputs
from rnnlab.tasks.sequence.answers import Answer, find_answer
from rnnlab.tasks.sequence.inputs import Inputs

TOKENS = ("labelled_text", "tagged")  # formats with tokens as inputs
_OWN = ("embedding", "character_features", "pooling", "output_dropout", "forecast")  # beyond the stack
_SKETCH = {"features": 3, "classes": 2}  # of a model for checking a config


class Sizing(NamedTuple):
    """The sizes of a model that depend on its data: features of a step or tokens of the vocabulary, characters of words
    (0: not read), whether inputs are tokens, and outputs."""

    inputs: int
    characters: int
    tokens: bool
    outputs: int

    @classmethod
    def of(cls, inputs: Inputs, answer: Answer) -> "Sizing":
        """Returns the sizes of a run."""
        characters = 0 if inputs.characters is None else len(inputs.characters)
        return cls(inputs.features, characters, inputs.vocabulary is not None, answer.out_features)

    @classmethod
    def sketch(cls, config: ConfigDict) -> "Sizing":
        """Returns sizes similar to those of a config."""
        tagged = config.data.name == "tagged"
        tokens = config.data.name in TOKENS
        characters = UNK + 2 if tagged and config.model.character_features else 0
        return cls(UNK + _SKETCH["features"], characters, tokens, _SKETCH["classes"])


def make_model(config: ConfigDict, sizing: Sizing) -> ManyToOne | ManyToMany:
    """Makes the model with its initial parameters, drawn from the seed.

    Raises:
      UserError: invalid options of the model.
    """
    options, rngs = config.model.to_dict(), nnx.Rngs(config.seed)
    own = {name: options.pop(name) for name in _OWN}
    try:
        front: TokenInputs | WordInputs | None = None
        if sizing.tokens:
            dropped = {"dropout": options["dropout"], "variational": options["variational"], "rngs": rngs}
            if sizing.characters:
                sizes = (sizing.inputs, sizing.characters, own["embedding"], own["character_features"])
                front = WordInputs(*sizes, **dropped)
            else:
                front = TokenInputs(sizing.inputs, own["embedding"], **dropped)
        options |= {"front": front, "output_dropout": own["output_dropout"], "rngs": rngs}
        if find_answer(config.data).per_step:
            return ManyToMany(sizing.inputs, sizing.outputs, **options)
        return ManyToOne(sizing.inputs, sizing.outputs, pooling=own["pooling"], **options)
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None
