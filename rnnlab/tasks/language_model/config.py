"""The fields of a language model's config; files in `configs/` change what they need."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Fields, at_most, check_fields, field, make_config
from rnnlab.data.example import SPLITS
from rnnlab.data.file_names import absolute, resolve_files
from rnnlab.errors import UserError
from rnnlab.tasks.fields import SAMPLING, STACK, check_sampling, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

METRICS = ("loss", "perplexity", "bits_per_token", "bits_per_character")
STOPS = ("", "line")
_MANY = at_most(1_000_000)  # for each of which the trainer of a vocabulary takes memory at once
_DATA: Fields = {
    "name": field("cmudict_spelling", "where there are no files: cmudict_spelling, or a TFDS set with a feature text"),
    "files": {
        split: file_names_field("text files, plain or packed: names between commas, or a list") for split in SPLITS
    },
    "directory": field("", "where files are that have no absolute name"),
    "prepared": field("", "folder of prepared sets; empty: TFDS_DATA_DIR or ~/tensorflow_datasets"),
    "validation_share": field(0.05, "of the training text, cut off its end where there is no validation text", RATE),
    "test_share": field(0.05, "the same of test, after it; 0: no test split", RATE),
    "unit": field("character", "character, byte, word, symbol, spacy or subword"),
    "language": field("", "of spaCy's rules, such as de"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD, or auto (NFC or NFD, whichever suits the data); empty: none"),
    "min_count": field(1, "occurrences in training that a token of the vocabulary has", POSITIVE),
    "size": field(8000, "of a subword vocabulary, no smaller than its number of characters", POSITIVE, _MANY),
    "vocabulary": field("", "work directory of a run whose vocabulary is used; empty: of the training text"),
}
_MODEL: Fields = {
    **STACK,
    "features": field(256, "of each layer", POSITIVE),
    "dropout": field(0.0, "rate on the outputs of every layer but the last", RATE),
    "embedding": field(0, "size of an embedding; 0: one-hot vectors", NOT_NEGATIVE),
    "embedding_dropout": field(0.0, "rate of tokens whose embedding is 0 in a whole batch", RATE),
    "input_dropout": field(0.0, "rate on embeddings", RATE),
    "output_dropout": field(0.0, "rate on what the output layer reads", RATE),
    "tied_embeddings": field(False, "makes the output layer's matrix the embedding's (Press and Wolf 2017)"),
}
_TRAINING: Fields = {
    **TRAINING,
    "batch_size": field(32, "parallel streams of the text, over all devices and processes together", POSITIVE),
    "bptt": field(64, "steps of a piece, through which gradients flow; the state is carried on", POSITIVE),
    "random_bptt": field(False, "draws the length of each piece (Merity et al. 2018, section 5)"),
    "activation_regularisation": field(
        0.0, "alpha of Merity et al. 2018 (section 4.6): on dropped outputs", NOT_NEGATIVE
    ),
    "temporal_regularisation": field(0.0, "beta of the same: on their change from step to step", NOT_NEGATIVE),
    "best_metric": field("loss", f"on validation: {', '.join(METRICS)}"),
}
_EVALUATION: Fields = {
    "batch_size": field(64, "predict: lines", POSITIVE),
    "average": EVALUATION["average"],
    "samples": field(3, "texts drawn and printed at the end", NOT_NEGATIVE),
    "streams": field(1, "evaluate, final test: parts of the text that are read side by side", POSITIVE),
    "validation_streams": field(64, "the same for validation while training", POSITIVE),
    "warmup": field(256, "tokens before each such part that are read for its state, and not scored", NOT_NEGATIVE),
    "dynamic_rate": field(0.0, "evaluate, final test: learning rate of dynamic evaluation; 0 disables", NOT_NEGATIVE),
    "dynamic_decay": field(0.0, "of it: share of the way back to the trained parameters at each update", RATE),
    "dynamic_steps": field(20, "of it: tokens from one update to the next", POSITIVE),
    "max_tokens": field(200, "predict: of an answer", POSITIVE, at_most(100_000)),
    "stop": field("", "predict: line ends an answer where its line ends; empty: at max_tokens alone"),
    "beam_size": field(1, "predict: of a beam, which finds a likely answer; 1 is greedy", POSITIVE),
    **SAMPLING,
}
FIELDS: Fields = {
    "experiment": experiment_field("language_model"),
    "seed": field(0, "of parameters, data order and dropout", NOT_NEGATIVE),
    "data": _DATA,
    "model": _MODEL,
    "training": _TRAINING,
    "evaluation": _EVALUATION,
}


def default_config() -> ConfigDict:
    """Makes the config of a small LSTM over the spelling of words."""
    return make_config(FIELDS)


def check_ranges(config: ConfigDict) -> None:
    """Refuses values that no run can use.

    Raises:
      UserError: names the field, its value and what is allowed.
    """
    check_fields(config, FIELDS)
    check_sampling(config.evaluation)
    data, evaluation = config.data, config.evaluation
    if data.validation_share + data.test_share >= 1:
        raise UserError(
            f"config.data.test_share: {data.test_share} and validation_share {data.validation_share} leave nothing to "
            "train on; their sum must be below 1"
        )
    for name, value, allowed in (
        ("training.best_metric", config.training.best_metric, METRICS),
        ("evaluation.stop", evaluation.stop, STOPS),
    ):
        if value not in allowed:
            raise UserError(f"config.{name}: unknown {value!r}; allowed: {', '.join(map(repr, allowed))}")
    if evaluation.dynamic_decay and not evaluation.dynamic_rate:
        raise UserError(
            f"config.evaluation.dynamic_decay: {evaluation.dynamic_decay} has no effect without "
            "config.evaluation.dynamic_rate; leave it out"
        )
    if evaluation.dynamic_rate and evaluation.streams > 1:
        raise UserError(
            f"config.evaluation.streams: {evaluation.streams} with dynamic_rate={evaluation.dynamic_rate}; dynamic "
            "evaluation reads the text in one stream"
        )


def resolve_paths(config: ConfigDict) -> None:
    """Makes the paths of the data absolute, in place: they are then the same from any folder.

    Raises:
      UserError: an empty name of a file.
    """
    data = config.data
    for name in ("prepared", "vocabulary"):
        data[name] = str(absolute(data[name])) if data[name] else ""
    resolve_files(data)
