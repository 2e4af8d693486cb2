"""The model of a config, for the sizes of its vocabularies."""

import jax
from flax import nnx
from ml_collections import ConfigDict

from rnnlab.data.vocabulary import BOS, EOS, PAD
from rnnlab.errors import UserError
from rnnlab.models import Seq2Seq
from rnnlab.search import SpecialTokens

SPECIAL = SpecialTokens(bos=BOS, eos=EOS, pad=PAD)


def make_model(config: ConfigDict, source_size: int, target_size: int) -> Seq2Seq:
    """Makes the model with its initial parameters, drawn from the seed.

    Raises:
      UserError: unknown names, or sizes that do not fit.
    """
    options = config.model.to_dict() | {"never_predicted": SPECIAL.never_predicted}
    try:
        return Seq2Seq(source_size, target_size, rngs=nnx.Rngs(jax.random.key(config.seed)), **options)
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None
