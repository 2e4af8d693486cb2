"""The fields of a config of the task `sequence`; files in `configs/` change what they need."""

from ml_collections import ConfigDict

from rnnlab.config import NOT_NEGATIVE, POSITIVE, RATE, SHARE, Allowed, Fields, at_most, field, make_config
from rnnlab.tasks.fields import STACK, experiment_field, file_names_field
from rnnlab.training.config import EVALUATION, TRAINING

ANSWERS = ("class", "numbers", "class_per_step", "labels_per_step", "forecast")
_MANY = at_most(1_000_000)
_BELOW_HALF = Allowed("from 0 to below 0.5", lambda value: 0 <= value < 0.5)


def one_of(*names: str) -> Allowed:
    """Allows these texts only."""
    return Allowed(f"one of {', '.join(map(repr, names))}", lambda value: value in names)


_COLUMNS: Fields = {
    "inputs": field("", "names of columns, between commas; empty: all that have no other role"),
    "answer": field("", "the same, of the answer"),
    "sequence": field("", "column whose rows of one value are a sequence; empty: by the kind of the answer"),
    "time": field("", "column of the time of a step: a number, or a date"),
}
_DATA: Fields = {
    "name": field("mnist1d", "ts, csv, npz, idx, piano_roll, labelled_text, tagged, mnist1d or generated"),
    "directory": field("", "folder that the names of files are relative to; empty: the current one"),
    "files": {
        split: file_names_field("a file; of idx images,labels; or a list of these")
        for split in ("train", "validation", "test")
    },
    "answer": field("class", "what is predicted of a sequence", one_of(*ANSWERS)),
    "validation_share": field(
        0.1, "of train, by a hash of each example, where there is no validation file", _BELOW_HALF
    ),
    "test_every": field(0, "every n-th example of train is the test split; 0: there is a file, or none", NOT_NEGATIVE),
    "columns": _COLUMNS,
    "missing": field("refuse", "values; fill takes the last one before", one_of("refuse", "fill")),
    "tag_scheme": field(
        "", "of entities; empty: found out; any: the classes are no entities", one_of("", "IOB", "IOB2", "BIOES", "any")
    ),
    "permuted": field(0, "seed of a fixed permutation of the steps; 0: none", NOT_NEGATIVE),
    "chunk": field(1, "steps that are joined into one", POSITIVE),
    "standardise": field(True, "numbers, by mean and deviation of each feature over train, unless all are 0 or 1"),
    "unit": field("character", "of labelled_text: character, byte, word, symbol, spacy or subword"),
    "lowercase": field(False, "reads text in lower case"),
    "normal_form": field("", "NFC, NFD, NFKC, NFKD, or auto (NFC or NFD, whichever suits the data); empty: none"),
    "min_count": field(1, "occurrences in train that a token of the vocabulary has", POSITIVE),
    "size": field(8000, "of a subword vocabulary", POSITIVE, _MANY),
    "language": field("", "of spaCy's rules, such as de"),
    "buckets": field(4, "most length buckets, and so compiled shapes", POSITIVE),
    "look_back": field(96, "forecast: steps that are read", POSITIVE),
    "horizon": field(96, "forecast: steps that are predicted", POSITIVE),
    "rows": field("0.7,0.1,0.2", "forecast: of a series in one file, counts or shares of train,validation,test"),
    "period": field(
        0, "forecast: of the season that the naive baseline repeats; 0: 24, or 1 of a shorter look-back", NOT_NEGATIVE
    ),
}
_FORECAST: Fields = {
    "joint": field(False, "reads all channels together; else each by itself, with shared parameters"),
    "normalisation": field("last", "of a window: none, last (its last value) or instance (reversible)"),
    "decoding": field("segments", "direct (one layer for all steps) or segments (Lin et al. 2023)"),
    "segment": field(0, "steps of a segment; 1 reads step by step; 0: the most up to 24 that divide it", NOT_NEGATIVE),
    "channel_embedding": field(True, "segments also read an embedding of their channel, if that is read by itself"),
    "quantiles": field("", "such as 0.1,0.5,0.9, whose median is scored; empty: the mean"),
    "distribution": field("none", "of each number: none, normal or student"),
}
_MODEL: Fields = {
    **STACK,
    "bidirectional": field(False, "reads in both directions"),
    "embedding": field(64, "size of the embedding of a token", POSITIVE),
    "character_features": field(0, "tagged: of each direction of an encoder of a word's characters", NOT_NEGATIVE),
    "pooling": field("last", "of one answer: last, mean, max, mean_max or attention"),
    "output_dropout": field(0.0, "rate on what the output layer reads", RATE),
    "forecast": _FORECAST,
}
_TRAINING: Fields = {
    **TRAINING,
    "best_metric": field("loss", "on validation: loss, or a score of the answer, such as accuracy"),
    "loss": field("squared", "error of a forecast", one_of("squared", "absolute")),
    "label_smoothing": field(0.0, "share of each label that is spread evenly over the classes", RATE),
    "class_weights": field(0.0, "power of each class's inverse frequency in train; 0: all alike, 1: balanced", SHARE),
    "input_noise": field(0.0, "deviation of normal noise that training adds to numbers", NOT_NEGATIVE),
    "word_dropout": field(0.0, "share of tokens that training reads as the unknown one", SHARE),
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
    """Makes the config of an LSTM that reads a class from a sequence."""
    return make_config(FIELDS)
