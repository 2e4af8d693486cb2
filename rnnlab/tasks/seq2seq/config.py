"""The fields of a seq2seq config, with defaults for the files in `configs/`."""

from ml_collections import ConfigDict

from rnnlab.config import (
    NOT_NEGATIVE,
    POSITIVE,
    RATE,
    SHARE,
    Fields,
    at_most,
    check_fields,
    field,
    make_config,
    split_names,
)
from rnnlab.data.file_names import absolute, resolve_files
from rnnlab.errors import UserError
from rnnlab.own import name_of_own
from rnnlab.tasks.fields import DTYPE, SAMPLING, STACK, check_sampling, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

_MANY = at_most(1_000_000)  # training a vocabulary allocates memory for each
_SIDE: Fields = {
    "unit": field("character", "character, byte, word, symbol, spacy or subword"),
    "language": field("", "language of spaCy's rules, such as de"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD, or auto (NFC or NFD, by the data); empty: unchanged"),
    "min_count": field(1, "minimum occurrences in training of a token of the vocabulary", POSITIVE),
    "size": field(8000, "of a subword vocabulary, no smaller than its number of characters", POSITIVE, _MANY),
    "embeddings": field("", "file of pretrained embeddings, a token and its numbers per line (GloVe, word2vec text)"),
    "reverse": field(False, "reads from the last token to the first (Sutskever et al. 2014)"),
}
_STACK: Fields = {
    **STACK,
    "embedding": field(64, "size of an embedding", POSITIVE),
    "output_dropout": field(0.0, "rate on the encoder's outputs and on the inputs of the decoder's output layer", RATE),
}
_DATA: Fields = {
    "name": field(
        "cmudict",
        "cmudict, multi30k, sigmorphon2020, parallel_text, a TFDS translation dataset, or file.py:NAME",
        own=True,
    ),
    "language": field("", "for sigmorphon2020, such as kor; for multi30k both, such as de-en"),
    "directory": field(
        "", "folder of the files of these two (empty: download), and of file names below that are not absolute"
    ),
    "prepared": field("", "folder of prepared datasets; empty: TFDS_DATA_DIR or ~/tensorflow_datasets"),
    "files": {
        split: file_names_field("parallel_text: source,target or pairs.tsv, or a list of these")
        for split in ("train", "validation", "test")
    },
    "validation_share": field(
        0.1, "share of parallel_text's train, by a hash of each pair, used without validation files", RATE
    ),
    "source": _SIDE,
    "target": {**_SIDE, "unit": field("symbol", "character, byte, word, symbol, spacy or subword")},
    "vocabularies": field("", "work directory of a run to take the vocabularies from; empty: from the training split"),
    "longest": field(1000, "maximum tokens of a side: longer training pairs are skipped, others refused", POSITIVE),
    "buckets": field(8, "maximum number of length buckets, and so of compiled shapes", POSITIVE),
}
_MODEL: Fields = {
    "dtype": DTYPE,
    "encoder": {**_STACK, "bidirectional": field(True, "reads the source in both directions")},
    "decoder": {**_STACK, "features": field(256, "size of its state", POSITIVE)},
    "bridge": field("dense", "last, dense or zero"),
    "attention": field("general", "none, dot, general, additive or monotonic"),
    "context": field("init", "init or every_step"),
    "input_feeding": field(False, "with dot or general attention (Luong et al. 2015)"),
    "tied_embeddings": field(False, "the output layer uses the matrix of the embedding (Press and Wolf 2017)"),
    "teacher_forcing": field(1.0, "share of the decoder's inputs in training taken from the target", SHARE),
}
_TRAINING: Fields = {
    **TRAINING,
    "best_metric": field("wer", "validation metric: loss, perplexity, or one of evaluation.metrics"),
    "label_smoothing": field(0.0, "share of each label spread evenly over the vocabulary", RATE),
    "teacher_forcing_decay": field(
        "none", "none, linear:k, exponential:k or inverse_sigmoid:k, from 1 down to model.teacher_forcing"
    ),
}
_EVALUATION: Fields = {
    **EVALUATION,
    "metrics": field(
        "wer,per",
        "list of wer, per, cer, bleu, chrf, token_bleu, free_running_loss, and file.py:NAME",
        own=True,
        names=split_names,
    ),
    "bleu_tokenizer": field("13a", "sacrebleu's: zh, ja-mecab, char ... for scripts without blanks between words"),
    "beam_size": field(5, "for the final test, evaluate and predict; validation is greedy", POSITIVE),
    "max_tokens": field(
        0,
        "maximum of an output, including EOS; 0: above any target of training, by the length of its source",
        NOT_NEGATIVE,
        at_most(100_000),  # a search allocates memory for each
    ),
    "length_penalty": field(0.0, "alpha of Wu et al. 2016", NOT_NEGATIVE),
    "coverage_penalty": field(0.0, "beta of the same; for a model with attention", NOT_NEGATIVE),
    **SAMPLING,
}
FIELDS: Fields = {
    "experiment": experiment_field("seq2seq"),
    "seed": field(0, "of parameters, data order and dropout", NOT_NEGATIVE),
    "data": _DATA,
    "model": _MODEL,
    "training": _TRAINING,
    "evaluation": _EVALUATION,
}


def default_config() -> ConfigDict:
    """Makes the config of a small attentional encoder-decoder on CMUdict."""
    return make_config(FIELDS)


def check_ranges(config: ConfigDict) -> None:
    """Refuses invalid values.

    Raises:
      UserError: names the field, its value and what is allowed.
    """
    check_fields(config, FIELDS)
    check_sampling(config.evaluation)
    if config.evaluation.coverage_penalty and config.model.attention == "none":
        raise UserError(
            f"config.evaluation.coverage_penalty: {config.evaluation.coverage_penalty} is not allowed with "
            "config.model.attention='none'; it must be 0"
        )


def resolve_paths(config: ConfigDict) -> None:
    """Makes the paths of the data absolute, in place: they are then the same from any folder; `best_metric` becomes its
    name in the scores.

    Raises:
      UserError: an empty file name.
    """
    data = config.data
    for part, name in ((data, "prepared"), (data, "vocabularies")):
        part[name] = str(absolute(part[name])) if part[name] else ""
    for side in (data.source, data.target):
        side.embeddings = str(absolute(side.embeddings)) if side.embeddings else ""
    resolve_files(data)
    config.training.best_metric = name_of_own(config.training.best_metric)


def metric_names(config: ConfigDict) -> list[str]:
    """Lists the names in `evaluation.metrics`, the user's own as `module:NAME`."""
    return split_names(config.evaluation.metrics)
