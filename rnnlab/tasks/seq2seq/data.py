"""The dataset of the task, its vocabularies, pretrained embeddings, and a probe."""

import collections
import functools
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from ml_collections import ConfigDict

from rnnlab.config import get_field
from rnnlab.data.batch import Batch
from rnnlab.data.corpus import Corpus
from rnnlab.data.embeddings import read_embeddings
from rnnlab.data.example import Example
from rnnlab.data.pipeline import Pairs
from rnnlab.data.vocabulary import UNK, Vocabulary
from rnnlab.errors import UserError

if TYPE_CHECKING:
    from rnnlab.tasks.seq2seq.task import Seq2SeqTask

_MANY_UNKNOWN = 0.1  # share of a split's tokens
_PROBED = 8  # sequences for measuring gradients


def open_corpus(config: ConfigDict, digests: Mapping[str, str] | None = None) -> Corpus:
    """Opens the dataset of the config; with `digests`, other contents are refused when they are read."""
    data = config.data
    where = {"prepared": data.prepared, "files": data.files.to_dict(), "directory": data.directory}
    where |= {"validation_share": data.validation_share}
    return Corpus(data.name, language=data.language, expected=digests, data=data, **where)


def probe_batch(task: "Seq2SeqTask", examples: Sequence[Example]) -> Batch:
    """Assembles at most 8 pairs of the most frequent lengths among some examples."""
    pairs = task.encode([example for example in examples if example.source])
    lengths = list(zip(pairs.sources.lengths.tolist(), pairs.targets.lengths.tolist(), strict=True))
    source, target = collections.Counter(lengths).most_common(1)[0][0]
    rows = [row for row, found in enumerate(lengths) if found == (source, target)][:_PROBED]
    return pairs.assemble(rows, (source, target + 1), len(rows))


def without_long(pairs: Pairs, longest: int) -> Pairs:
    """Returns the training pairs with at most `longest` tokens on each side.

    Raises:
      UserError: no such pairs.
    """
    kept = np.flatnonzero(np.maximum(pairs.sources.lengths, pairs.targets.lengths) <= longest)
    if not len(kept):
        raise UserError(f"config.data.longest: every training pair has more than {longest} tokens on a side")
    return pairs if len(kept) == len(pairs) else pairs.take(kept)


def refuse_long(pairs: Pairs, longest: int, split: str) -> None:
    """Refuses pairs that cannot be skipped, as the scores are those of the whole split, nor held in memory.

    Raises:
      UserError: a source or target has more than `longest` tokens.
    """
    for side, lengths in {"source": pairs.sources.lengths, "target": pairs.targets.lengths}.items():
        if max(lengths, default=0) > longest:
            raise UserError(
                f"config.data.longest: a {side} of the {split} split has {max(lengths):,} tokens, more than "
                f"{longest:,}; remove it from the data, or raise the limit"
            )


def log_vocabularies(task: "Seq2SeqTask", splits: Mapping[str, Pairs]) -> None:
    """Logs the size of each vocabulary and the share of unknown tokens in each of `splits`: a warning if it is large,
    or if a vocabulary is empty."""
    for side in ("source", "target"):
        size = len(getattr(task, side)) - (UNK + 1)
        shares = {split: getattr(pairs, f"{side}s").share(UNK) for split, pairs in splits.items()}
        unknown = ", ".join(f"{share:.2%} of {split}" for split, share in shares.items())
        few = not size or max(shares.values()) > _MANY_UNKNOWN
        hint = f"; look at config.data.{side}.unit and min_count" if few else ""
        level = logging.WARNING if few else logging.INFO
        logging.getLogger("rnnlab").log(
            level, "%s vocabulary: %s tokens; unknown: %s%s", side, f"{size:,}", unknown, hint
        )


def vocabulary_options(config: ConfigDict, side: str) -> dict[str, Any]:
    """Returns the fields of a side that determine its vocabulary."""
    return {name: value for name, value in config.data[side].items() if name != "embeddings"}


def vocabulary_of_another(config: ConfigDict, side: str, options: Mapping[str, Any]) -> Vocabulary:
    """Loads the vocabulary of a side of the run `data.vocabularies`.

    Raises:
      UserError: it was made with other options.
    """
    vocabulary = Vocabulary.load(pathlib.Path(config.data.vocabularies) / f"{side}_vocabulary.json")
    try:
        vocabulary.check_options(**options)
    except UserError as error:
        raise UserError(f"config.data.{side}.{error} in config.data.vocabularies") from None
    return vocabulary


def pretrained(path: str, vocabulary: Vocabulary, table: Array, side: str) -> Array:
    """Returns a table of embeddings `[tokens, size]` with the rows of a file.

    Raises:
      UserError: a vocabulary without ids, or a file that cannot be read or has another size.
    """
    try:
        ids = vocabulary.ids
    except UserError as error:
        raise UserError(f"config.data.{side}.embeddings: {error}") from None
    found = read_embeddings(path, ids, table.shape[1])
    logging.getLogger("rnnlab").info("%s: embeddings of %s of %s tokens from %s", side, len(found), len(ids), path)
    if not found:
        return table
    return table.at[jnp.array(list(found))].set(jnp.array(list(found.values())))


@functools.cache  # the runs of a sweep mostly have the same data
def digests_of(data: str) -> dict[str, str]:
    """Returns the digest of each split of a config's data, in JSON; none if they are not available."""
    try:
        corpus = open_corpus(ConfigDict({"data": json.loads(data)}))
        return {split: corpus.digest(split) for split in corpus.splits}
    except UserError:
        return {}


def same_data(saved: ConfigDict, config: ConfigDict, split: str) -> bool:
    """Returns whether two configs take a split from the same location."""
    fields = ["data.name", "data.language", "data.directory", f"data.files.{split}"]
    if split in ("train", "validation") and not saved.data.files.validation:  # validation is then a share of train
        fields += ["data.files.train", "data.files.validation", "data.validation_share"]
    return all(get_field(saved, field) == get_field(config, field) for field in fields)
