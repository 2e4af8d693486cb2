"""The fields of a seq2seq config; files in `configs/` change what they need."""

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
from rnnlab.tasks.fields import SAMPLING, STACK, check_sampling, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

_MANY = at_most(1_000_000)  # for each of which the trainer of a vocabulary takes memory at once
_SIDE: Fields = {
    "unit": field("character", "character, byte, word, symbol, spacy or subword"),
    "language": field("", "of spaCy's rules, such as de"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD or none; auto: NFC or NFD, whichever leaves fewer symbols unseen"),
    "min_count": field(1, "occurrences in training that a token of the vocabulary has", POSITIVE),
    "size": field(8000, "of a subword vocabulary, no smaller than its number of characters", POSITIVE, _MANY),
    "embeddings": field("", "file of pretrained embeddings, a token and its numbers a line (GloVe, word2vec as text)"),
    "reverse": field(False, "reads from the last token to the first (Sutskever et al. 2014)"),
}
_STACK: Fields = {
    **STACK,
    "embedding": field(64, "size of an embedding", POSITIVE),
    "output_dropout": field(0.0, "rate on what attention reads of the encoder, and the decoder's output layer", RATE),
}
_DATA: Fields = {
    "name": field(
        "cmudict",
        "cmudict, multi30k, sigmorphon2020, parallel_text, a translation set of TFDS, or file.py:NAME",
        own=True,
    ),
    "language": field("", "of sigmorphon2020, such as kor; of multi30k both, such as de-en"),
    "directory": field(
        "", "holds the files of these two (empty: they are downloaded), and those below that have no absolute name"
    ),
    "prepared": field("", "folder of prepared sets; empty: TFDS_DATA_DIR or ~/tensorflow_datasets"),
    "files": {
        split: file_names_field("parallel_text: source,target or pairs.tsv, or a list of these")
        for split in ("train", "validation", "test")
    },
    "validation_share": field(
        0.1, "of parallel_text's train, by a hash of each pair, where it has no validation", RATE
    ),
    "source": _SIDE,
    "target": {**_SIDE, "unit": field("symbol", "character, byte, word, symbol, spacy or subword")},
    "vocabularies": field("", "work directory of a run whose vocabularies are used; empty: of the training split"),
    "longest": field(1000, "tokens of a side: longer training pairs are left out, longer others refused", POSITIVE),
    "buckets": field(8, "most length buckets, and so compiled shapes", POSITIVE),
}
_MODEL: Fields = {
    "encoder": {**_STACK, "bidirectional": field(True, "reads the source in both directions")},
    "decoder": {**_STACK, "features": field(256, "of its state", POSITIVE)},
    "bridge": field("dense", "last, dense or zero"),
    "attention": field("general", "none, dot, general, additive or monotonic"),
    "context": field("init", "init or every_step"),
    "input_feeding": field(False, "with dot or general attention (Luong et al. 2015)"),
    "tied_embeddings": field(False, "makes the output layer's matrix the embedding's (Press and Wolf 2017)"),
    "teacher_forcing": field(1.0, "share of the decoder's inputs in training that are the target's", SHARE),
}
_TRAINING: Fields = {
    **TRAINING,
    "best_metric": field("wer", "on validation: loss, perplexity, or one of evaluation.metrics"),
    "label_smoothing": field(0.0, "share of each label that is spread evenly over the vocabulary", RATE),
    "teacher_forcing_decay": field(
        "none", "or linear:k, exponential:k, inverse_sigmoid:k, from 1 down to model.teacher_forcing"
    ),
}
_EVALUATION: Fields = {
    **EVALUATION,
    "metrics": field(
        "wer,per",
        "of wer, per, cer, bleu, chrf, token_bleu, free_running_loss, and file.py:NAME",
        own=True,
        names=split_names,
    ),
    "bleu_tokenizer": field("13a", "sacrebleu's: zh, ja-mecab, char ... for scripts without blanks between words"),
    "beam_size": field(5, "of the final test, evaluate and predict; validation is greedy", POSITIVE),
    "max_tokens": field(
        0,
        "of an output, EOS counted; 0: more than any target of training had, by its source's length",
        NOT_NEGATIVE,
        at_most(100_000),  # for each of which a search takes memory at once
    ),
    "length_penalty": field(0.0, "alpha of Wu et al. 2016", NOT_NEGATIVE),
    "coverage_penalty": field(0.0, "beta of the same; of a model with attention", NOT_NEGATIVE),
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
    """Refuses values that no run can use.

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
    """Makes the paths of the data absolute, in place: they are then the same from any folder; `best_metric` becomes the
    name that the scores have for it.

    Raises:
      UserError: an empty name of a file.
    """
    data = config.data
    for part, name in ((data, "prepared"), (data, "vocabularies")):
        part[name] = str(absolute(part[name])) if part[name] else ""
    for side in (data.source, data.target):
        side.embeddings = str(absolute(side.embeddings)) if side.embeddings else ""
    resolve_files(data)
    config.training.best_metric = name_of_own(config.training.best_metric)


def metric_names(config: ConfigDict) -> list[str]:
    """Lists what `evaluation.metrics` names, of the user's own as `module:NAME`."""
    return split_names(config.evaluation.metrics)
