"""The fields of a config of the task `sequence`, with defaults for the files in `configs/`."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, SHARE, Allowed, Fields, at_most, field, make_config
from rnnlab.tasks.fields import DTYPE, STACK, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

ANSWERS = ("class", "numbers", "class_per_step", "labels_per_step", "forecast")
_MANY = at_most(1_000_000)
_BELOW_HALF = Allowed("from 0 to below 0.5", lambda value: 0 <= value < 0.5)


def one_of(*names: str) -> Allowed:
    """Allows only these texts."""
    return Allowed(f"one of {', '.join(map(repr, names))}", lambda value: value in names)


_COLUMNS: Fields = {
    "inputs": field("", "names of columns, separated by commas; empty: all without another role"),
    "answer": field("", "the same for the answer"),
    "sequence": field("", "column with the name of a row's sequence; empty: by the kind of the answer"),
    "time": field("", "column with the time of a step: a number, or a date"),
}
_DATA: Fields = {
    "name": field("mnist1d", "ts, csv, npz, idx, piano_roll, labelled_text, tagged, mnist1d or generated"),
    "directory": field("", "folder of file names that are not absolute; empty: the current one"),
    "files": {
        split: file_names_field("a file; for idx images,labels; or a list of these")
        for split in ("train", "validation", "test")
    },
    "answer": field("class", "the prediction for a sequence", one_of(*ANSWERS)),
    "validation_share": field(
        0.1, "share of train, by a hash of each example, used without a validation file", _BELOW_HALF
    ),
    "test_every": field(0, "takes every n-th example of train for the test split; 0: test files, if any", NOT_NEGATIVE),
    "columns": _COLUMNS,
    "missing": field("refuse", "missing values; fill takes the last value before", one_of("refuse", "fill")),
    "tag_scheme": field(
        "", "of entities; empty: detected; any: the classes are not entities", one_of("", "IOB", "IOB2", "BIOES", "any")
    ),
    "permuted": field(0, "seed of a fixed permutation of the steps; 0 disables it", NOT_NEGATIVE),
    "chunk": field(1, "steps that are joined into one", POSITIVE),
    "standardise": field(True, "each feature by its mean and deviation over train, unless all numbers are 0 or 1"),
    "unit": field("character", "for labelled_text: character, byte, word, symbol, spacy or subword"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD, or auto (NFC or NFD, by the data); empty: unchanged"),
    "min_count": field(1, "minimum occurrences in train of a token of the vocabulary", POSITIVE),
    "size": field(8000, "of a subword vocabulary", POSITIVE, _MANY),
    "language": field("", "language of spaCy's rules, such as de"),
    "buckets": field(4, "maximum number of length buckets, and so of compiled shapes", POSITIVE),
    "look_back": field(96, "forecast: input steps", POSITIVE),
    "horizon": field(96, "forecast: predicted steps", POSITIVE),
    "rows": field("0.7,0.1,0.2", "forecast: for series in one file, counts or shares of train,validation,test"),
    "period": field(0, "forecast: season of the naive baseline; 0: 24, or 1 for a shorter look-back", NOT_NEGATIVE),
}
_FORECAST: Fields = {
    "joint": field(False, "reads all channels together; else each separately, with shared parameters"),
    "normalisation": field("last", "of a window: none, last (subtracts its last value) or instance (reversible)"),
    "decoding": field("segments", "direct (one layer for all steps) or segments (Lin et al. 2023)"),
    "segment": field(0, "steps of a segment; 1 reads step by step; 0: the largest divisor up to 24", NOT_NEGATIVE),
    "channel_embedding": field(True, "segments also read an embedding of their channel, unless joint"),
    "quantiles": field("", "such as 0.1,0.5,0.9 (the median is scored); empty: the mean"),
    "distribution": field("none", "of each number: none, normal or student"),
}
_MODEL: Fields = {
    "dtype": DTYPE,
    **STACK,
    "bidirectional": field(False, "reads in both directions"),
    "embedding": field(64, "size of the embedding of a token", POSITIVE),
    "character_features": field(0, "tagged: size of each direction of a character encoder", NOT_NEGATIVE),
    "pooling": field("last", "for one answer per sequence: last, mean, max, mean_max or attention"),
    "output_dropout": field(0.0, "rate on the inputs of the output layer", RATE),
    "forecast": _FORECAST,
}
_TRAINING: Fields = {
    **TRAINING,
    "best_metric": field("loss", "validation metric: loss, or a score of the answer, such as accuracy"),
    "loss": field("squared", "error of a forecast", one_of("squared", "absolute")),
    "label_smoothing": field(0.0, "share of each label spread evenly over the classes", RATE),
    "class_weights": field(0.0, "power of each class's inverse frequency in train; 0: equal, 1: balanced", SHARE),
    "input_noise": field(0.0, "standard deviation of Gaussian noise on numbers in training", NOT_NEGATIVE),
    "word_dropout": field(0.0, "share of tokens that training reads as unknown", SHARE),
}
FIELDS: Fields = {
    "experiment": experiment_field("sequence"),
    "seed": field(0, "of parameters, data order and dropout", NOT_NEGATIVE),
    "data": _DATA,
    "model": _MODEL,
    "training": _TRAINING,
    "evaluation": EVALUATION,
}


def default_config() -> ConfigDict:
    """Makes the config of an LSTM classifier of sequences."""
    return make_config(FIELDS)
