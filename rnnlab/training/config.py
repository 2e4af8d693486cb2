"""Every field of a seq2seq experiment, with its default and its meaning; files in `configs/` change what they need."""

import ast
import copy
import math
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference, config_flags

from rnnlab.data.parallel_text import absolute, absolute_names
from rnnlab.errors import UserError


class _NamesParser(flags.ArgumentParser):
    """A text as it is, or the list that it spells: ['a,b.de', 'c.en']."""

    def parse(self, argument):
        if isinstance(argument, str) and argument.startswith(("[", "(")):
            try:
                argument = ast.literal_eval(argument)
            except (SyntaxError, ValueError):  # a name that starts so
                return argument
        return argument


class _TextOrList(type):
    def __instancecheck__(cls, value):
        return isinstance(value, str | list | tuple)


@config_flags.register_flag_parser(parser=_NamesParser())
class _Names(metaclass=_TextOrList):
    """The type of a field that holds names of files: one text, or a list of them."""


_SIDE: dict[str, Any] = {
    "unit": "character",  # character, word, symbol, spacy or subword
    "language": "",  # of spaCy's rules, such as de
    "lowercase": False,
    "normal_form": "",  # NFC, NFD, NFKC, NFKD or none; auto: NFC or NFD, whichever leaves fewer symbols unseen
    "min_count": 1,
    "size": 8000,  # of a subword vocabulary, no smaller than its characters are many
    "reverse": False,  # read from the last token to the first (Sutskever et al. 2014)
}
_STACK: dict[str, Any] = {
    "cell": "lstm",  # of rnnlab.cells.CELLS; "lstm/diagonal", "lstm/heads4" and "lstm/none" give R a structure
    "features": 128,  # of each direction
    "layers": 1,
    "embedding": 64,
    "dropout": 0.0,  # on embeddings and between layers
    "output_dropout": 0.0,  # on what attention reads of the encoder, and the output layer of the decoder
    "variational": False,  # draws these masks once for all steps (Gal and Ghahramani 2016)
    "recurrent_dropout": 0.0,  # on h where it enters h R, once for all steps (the same)
    "weight_drop": 0.0,  # on the entries of R (Merity et al. 2018)
    "zoneout": 0.0,  # units of h that keep their value at a step (Krueger et al. 2017)
    "zoneout_cell": 0.0,  # the same of the other entries of the state
    "residual": False,
    "initial_state": "zero",  # or learnt
    "method": "auto",  # how it is scanned: sequential, associative (linear cells), newton ...; same results to rounding
}
_DATA: dict[str, Any] = {
    "name": "cmudict",  # or multi30k, sigmorphon2020, parallel_text, or a TFDS translation set
    "language": "",  # of sigmorphon2020, such as kor; of multi30k both, such as de-en
    "directory": "",  # holds the files of these two; empty downloads them
    "prepared": "",  # folder of prepared sets; empty is TFDS_DATA_DIR or ~/tensorflow_datasets
    # of parallel_text: "source,target", "pairs.tsv", or a list of these names
    "files": {split: FieldReference("", field_type=_Names) for split in ("train", "validation", "test")},
    "source": _SIDE,
    "target": _SIDE | {"unit": "symbol"},
    "longest": 1000,  # tokens of a side: longer training pairs are left out, longer validation and test texts refused
    "buckets": 8,  # most length buckets, and so compiled shapes
}
_MODEL: dict[str, Any] = {
    "encoder": _STACK | {"bidirectional": True},
    "decoder": _STACK | {"features": 256},
    "bridge": "dense",  # last, dense or zero
    "attention": "general",  # none, dot, general, additive or monotonic
    "context": "init",  # or every_step
    "input_feeding": False,  # with dot or general attention (Luong et al. 2015)
    "tied_embeddings": False,
    "teacher_forcing": 1.0,  # share of the decoder's inputs in training that are the target's
}
_TRAINING: dict[str, Any] = {
    "steps": 5000,
    "batch_size": 64,  # over all devices and processes together
    "model_parallel": 1,  # devices that share each large parameter; all together share the batch in so many groups
    "optimizer": "adam",
    "learning_rate": 3e-3,  # the highest one of the schedule
    "schedule": "one_cycle",
    "warmup_steps": 0,  # of warmup_cosine (below steps) and inverse_sqrt only; 0 is a tenth of the steps
    "weight_decay": 0.0,  # adamw and lion only
    "clip_global_norm": 1.0,  # 0 is none
    "clip_value": 0.0,  # of each entry of the gradient, instead; 0 is none
    "intervention": "default",  # on every recurrence: those of rnnlab.gradient_flow.Treatment but flossing
    "spike": 0.0,  # a step whose loss is above so many times the usual one is skipped, as one not finite is; 0 is none
    "most_skipped": 10,  # in a row, before the run goes back to its last checkpoint, the data in another order
    "most_returns": 3,  # times that it goes back before it gives up
    "label_smoothing": 0.0,
    "teacher_forcing_decay": "none",  # or linear:k, exponential:k, inverse_sigmoid:k, down to model.teacher_forcing
    "average_decay": 0.0,  # of the exponential moving average of the parameters that is evaluated; 0 is none
    "log_every": 100,
    "evaluate_every": 1000,
    "checkpoint_every": 500,
    "measure_every": 500,  # steps between two measurements of the gradient's flow; 0 is never
    "best_metric": "wer",  # on validation: loss, perplexity, or one of evaluation.metrics
    "patience": 0,  # evaluations without a new best before the run ends; 0 is never
}
_EVALUATION: dict[str, Any] = {
    "metrics": "wer,per",  # of wer, per, cer, bleu, chrf, token_bleu, free_running_loss
    "bleu_tokenizer": "13a",  # sacrebleu's: zh, ja-mecab, ko-mecab, char ... for scripts without blanks between words
    "batch_size": 256,
    "beam_size": 5,  # of the final test, of evaluate and of predict; validation is greedy
    "max_tokens": 0,  # of an output, EOS counted; 0: more than any target of training had, by its source's length
    "length_penalty": 0.0,  # alpha of Wu et al. 2016
    "coverage_penalty": 0.0,  # beta of the same; of a model with attention
    "temperature": 0.0,  # above 0 predict draws beam_size outputs at random instead of searching; validation never does
    "top_k": 0,  # drawing from the so many likeliest tokens only; 0 is all
    "top_p": 1.0,  # and from the fewest likeliest that hold this share of the probability
    "average": 1,  # best checkpoints whose mean is used, of as many kept
    "samples": 10,  # predictions shown at the end
}


def default_config() -> ConfigDict:
    """The config of a small attentional encoder-decoder on CMUdict. Unknown fields cannot be added to it."""
    parts = {"data": _DATA, "model": _MODEL, "training": _TRAINING, "evaluation": _EVALUATION}
    return ConfigDict({"experiment": "seq2seq", "seed": 0, **copy.deepcopy(parts)}).lock()


_MOST = 2**31 - 1
_LARGEST, _SMALLEST = 1e30, 1e-30  # what float32 holds, with room for a product
_AT_MOST = {
    "model.encoder.layers": 100,  # each is traced and compiled by itself
    "model.decoder.layers": 100,
    "data.source.size": 1_000_000,  # for each of which the trainer takes memory at once
    "data.target.size": 1_000_000,
    "evaluation.max_tokens": 100_000,  # for each of which a search takes memory at once
}
_POSITIVE = (
    "data.source.min_count",
    "data.source.size",
    "data.target.min_count",
    "data.target.size",
    "data.buckets",
    "data.longest",
    "model.encoder.features",
    "model.encoder.layers",
    "model.encoder.embedding",
    "model.decoder.features",
    "model.decoder.layers",
    "model.decoder.embedding",
    "training.steps",
    "training.batch_size",
    "training.model_parallel",
    "training.learning_rate",
    "training.log_every",
    "training.evaluate_every",
    "training.checkpoint_every",
    "training.most_skipped",
    "evaluation.batch_size",
    "evaluation.beam_size",
    "evaluation.average",
)
_NOT_NEGATIVE = (
    "seed",
    "training.warmup_steps",
    "training.weight_decay",
    "training.clip_global_norm",
    "training.clip_value",
    "training.patience",
    "training.spike",
    "training.most_returns",
    "training.measure_every",
    "evaluation.samples",
    "evaluation.max_tokens",
    "evaluation.length_penalty",
    "evaluation.coverage_penalty",
    "evaluation.temperature",
    "evaluation.top_k",
)
_DROPPED = ("dropout", "output_dropout", "recurrent_dropout", "weight_drop", "zoneout", "zoneout_cell")
_RATES = (
    *(f"model.{side}.{rate}" for side in ("encoder", "decoder") for rate in _DROPPED),
    "training.label_smoothing",
    "training.average_decay",
)


def check_ranges(config: ConfigDict) -> None:
    """Refuses numbers that no run can use.

    Raises:
      UserError: names the field, its value and what is allowed.
    """
    for field in field_paths(config):
        value = get_field(config, field)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"config.{field}: {value} is not allowed; it must be finite")
        if isinstance(value, float) and value and not _SMALLEST <= abs(value) <= _LARGEST:
            raise UserError(
                f"config.{field}: {value} is not allowed; it must be 0 or from {_SMALLEST} to {_LARGEST} in size"
            )
        if isinstance(value, int) and abs(value) > _MOST:
            raise UserError(f"config.{field}: {value} is not allowed; it must be {_MOST:,} at most")
        if isinstance(value, str) and not value.isprintable():
            raise UserError(f"config.{field}: {value!r} is not allowed; it must be printable text on one line")
    for field in _POSITIVE:
        if not get_field(config, field) > 0:
            raise UserError(f"config.{field}: {get_field(config, field)} is not allowed; it must be above 0")
    for field, most in _AT_MOST.items():
        if get_field(config, field) > most:
            raise UserError(f"config.{field}: {get_field(config, field)} is not allowed; it must be {most:,} at most")
    for field in _NOT_NEGATIVE:
        if not get_field(config, field) >= 0:
            raise UserError(f"config.{field}: {get_field(config, field)} is not allowed; it must be 0 or above")
    for field in _RATES:
        if not 0 <= get_field(config, field) < 1:
            raise UserError(f"config.{field}: {get_field(config, field)} is not allowed; it must be from 0 to below 1")
    if 0 < config.training.spike <= 1:  # which half of all steps would be
        raise UserError(f"config.training.spike: {config.training.spike} is not allowed; it must be 0 or above 1")
    if config.evaluation.coverage_penalty and config.model.attention == "none":
        raise UserError(
            f"config.evaluation.coverage_penalty: {config.evaluation.coverage_penalty} is not allowed with "
            "config.model.attention='none'; it must be 0"
        )
    if not 0 <= config.model.teacher_forcing <= 1:
        share = config.model.teacher_forcing
        raise UserError(f"config.model.teacher_forcing: {share} is not allowed; it must be from 0 to 1")
    if not 0 < config.evaluation.top_p <= 1:
        raise UserError(f"config.evaluation.top_p: {config.evaluation.top_p} is not allowed; it must be in (0, 1]")


def resolve_paths(config: ConfigDict) -> None:
    """Makes the paths of the data absolute, in place: they are then the same from any folder.

    Raises:
      UserError: files that are neither "source,target" nor one TSV.
    """
    data = config.data
    for field in ("prepared", "directory"):
        data[field] = str(absolute(data[field])) if data[field] else ""
    for split, names in data.files.items():
        data.files[split] = absolute_names(names) if names else ""


def metric_names(config: ConfigDict) -> tuple[str, ...]:
    """The metrics of the task, out of `evaluation.metrics`."""
    return tuple(name.strip() for name in config.evaluation.metrics.split(",") if name.strip())


def get_field(config: ConfigDict, path: str) -> Any:
    """The value at a dotted path."""
    for name in path.split("."):
        config = config[name]
    return config


def field_paths(config: ConfigDict, prefix: str = "") -> list[str]:
    """The dotted paths of all fields, parts included."""
    paths = []
    for name, value in config.items():
        paths.append(f"{prefix}{name}")
        if isinstance(value, ConfigDict):
            paths += field_paths(value, f"{prefix}{name}.")
    return paths
