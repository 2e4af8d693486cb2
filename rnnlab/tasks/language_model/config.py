"""The fields of a language model's config, with defaults for the files in `configs/`."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, Fields, at_most, check_fields, field, make_config
from rnnlab.data.example import SPLITS
from rnnlab.data.file_names import absolute, resolve_files
from rnnlab.errors import UserError
from rnnlab.tasks.fields import DTYPE, SAMPLING, STACK, check_sampling, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

METRICS = ("loss", "perplexity", "bits_per_token", "bits_per_character")
STOPS = ("", "line")
_MANY = at_most(1_000_000)  # training a vocabulary allocates memory for each
_DATA: Fields = {
    "name": field("cmudict_spelling", "without files: cmudict_spelling, or a TFDS dataset with a feature text"),
    "files": {
        split: file_names_field("text files, plain or compressed: names with commas, or a list") for split in SPLITS
    },
    "directory": field("", "folder of file names that are not absolute"),
    "prepared": field("", "folder of prepared datasets; empty: TFDS_DATA_DIR or ~/tensorflow_datasets"),
    "validation_share": field(0.05, "share of the training text, from its end, used without a validation text", RATE),
    "test_share": field(0.05, "the same for test, after it; 0: no test split", RATE),
    "unit": field("character", "character, byte, word, symbol, spacy or subword"),
    "language": field("", "language of spaCy's rules, such as de"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD, or auto (NFC or NFD, by the data); empty: unchanged"),
    "min_count": field(1, "minimum occurrences in training of a token of the vocabulary", POSITIVE),
    "size": field(8000, "of a subword vocabulary, no smaller than its number of characters", POSITIVE, _MANY),
    "vocabulary": field("", "work directory of a run to take the vocabulary from; empty: from the training text"),
}
_MODEL: Fields = {
    "dtype": DTYPE,
    **STACK,
    "features": field(256, "units of each layer", POSITIVE),
    "dropout": field(0.0, "rate on the outputs of every layer but the last", RATE),
    "embedding": field(0, "size of an embedding; 0: one-hot vectors", NOT_NEGATIVE),
    "embedding_dropout": field(0.0, "rate of tokens with a zero embedding for a whole batch", RATE),
    "input_dropout": field(0.0, "rate on embeddings", RATE),
    "output_dropout": field(0.0, "rate on the inputs of the output layer", RATE),
    "tied_embeddings": field(False, "the output layer uses the matrix of the embedding (Press and Wolf 2017)"),
}
_TRAINING: Fields = {
    **TRAINING,
    "batch_size": field(32, "parallel streams of the text, total over all devices and processes", POSITIVE),
    "bptt": field(64, "steps of a piece, the reach of gradients; the state is carried further", POSITIVE),
    "random_bptt": field(False, "draws the length of each piece (Merity et al. 2018, section 5)"),
    "activation_regularisation": field(
        0.0, "AR: alpha of Merity et al. 2018 (section 4.6), on dropped outputs", NOT_NEGATIVE
    ),
    "temporal_regularisation": field(0.0, "TAR: beta of the same, on changes between steps", NOT_NEGATIVE),
    "best_metric": field("loss", f"validation metric: {', '.join(METRICS)}"),
}
_EVALUATION: Fields = {
    "batch_size": field(64, "predict: lines", POSITIVE),
    "average": EVALUATION["average"],
    "samples": field(3, "texts sampled and printed at the end", NOT_NEGATIVE),
    "streams": field(1, "evaluate, final test: parts of the text to read in parallel", POSITIVE),
    "validation_streams": field(64, "the same for validation during training", POSITIVE),
    "warmup": field(256, "tokens read before each such part to set its state, not scored", NOT_NEGATIVE),
    "dynamic_rate": field(0.0, "evaluate, final test: rate of dynamic evaluation; 0 disables it", NOT_NEGATIVE),
    "dynamic_decay": field(0.0, "its decay towards the trained parameters at each update", RATE),
    "dynamic_steps": field(20, "its tokens per update", POSITIVE),
    "max_tokens": field(200, "predict: maximum tokens of a continuation", POSITIVE, at_most(100_000)),
    "stop": field("", "predict: 'line' ends a continuation at a line break; empty: only at max_tokens"),
    "beam_size": field(1, "predict: hypotheses of beam search; 1 is greedy", POSITIVE),
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
    """Refuses invalid values.

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
            "config.evaluation.dynamic_rate; omit it"
        )
    if evaluation.dynamic_rate and evaluation.streams > 1:
        raise UserError(
            f"config.evaluation.streams: {evaluation.streams} with dynamic_rate={evaluation.dynamic_rate}; dynamic "
            "evaluation reads the text in one stream"
        )


def resolve_paths(config: ConfigDict) -> None:
    """Makes the paths of the data absolute, in place: they are then the same from any folder.

    Raises:
      UserError: an empty file name.
    """
    data = config.data
    for name in ("prepared", "vocabulary"):
        data[name] = str(absolute(data[name])) if data[name] else ""
    resolve_files(data)
