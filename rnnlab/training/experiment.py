"""One work directory: the config, the vocabularies and the length buckets of a run, and the model that they define."""

import dataclasses
import difflib
import itertools
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from rnnlab.data.corpus import Corpus, Example
from rnnlab.data.pipeline import Lengths, Pairs, Sizes, bucket_sizes
from rnnlab.data.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from rnnlab.decoding import Signs
from rnnlab.errors import UserError
from rnnlab.files import write_text
from rnnlab.metrics import FREE_RUNNING, METRICS, bleu_tokenizers, translation_scores
from rnnlab.models import Ensemble, Seq2Seq
from rnnlab.training.checkpoint import Checkpoints
from rnnlab.training.config import check_ranges, default_config, field_paths, get_field, metric_names, resolve_paths
from rnnlab.training.intervention import Intervention
from rnnlab.training.optimizer import make_optimizer
from rnnlab.training.step import ModelParams, split_model
from rnnlab.training.teacher_forcing import make_teacher_forcing

SIGNS = Signs(start=BOS, end=EOS, padding=PAD)
# A run that changes one of these is another run; a model that is used needs only those that shape it.
_FIXED_IN_TRAINING = ("seed", "data", "model", "training.optimizer", "training.intervention")
_PLACES = ("data.prepared", "data.directory", "data.files")  # the same data may lie elsewhere
_MANY_UNKNOWN = 0.1  # share of a split's tokens
_FIXED_IN_USE = ("model", "data.source", "data.target", "data.buckets")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What every mode needs: read from a work directory by `open_experiment`, made by `create_experiment`.

    With `members` it is an ensemble: what answers is its own model and theirs together.
    """

    config: ConfigDict
    workdir: pathlib.Path
    source: Vocabulary
    target: Vocabulary
    sizes: Sizes
    lengths: Lengths
    digests: dict[str, str]  # of the contents of each split
    members: tuple["Experiment", ...] = ()

    def make_model(self) -> Seq2Seq:
        """Its own model with the initial parameters, which follow from the seed.

        Raises:
          UserError: names in the config that the model does not know, or sizes that do not fit.
        """
        return _make_model(self.config, len(self.source), len(self.target))

    def make_answering(self) -> Seq2Seq | Ensemble:
        """The model that `best_params` are of: its own, or an ensemble."""
        own = self.make_model()
        return Ensemble([own, *(member.make_model() for member in self.members)]) if self.members else own

    def encode(self, examples: list[Example]) -> Pairs:
        """One pair for each target of each example."""
        return Pairs(
            [self.source.encode(example.source) for example in examples for _ in example.targets],
            [self.target.encode(target) for example in examples for target in example.targets],
            [number for number, example in enumerate(examples) for _ in example.targets],
        )

    def training_pairs(self, examples: list[Example]) -> Pairs:
        """The encoded pairs that are trained on: those with at most `data.longest` tokens on each side.

        Raises:
          UserError: there are none.
        """
        pairs, longest = self.encode(examples), self.config.data.longest
        kept = np.flatnonzero(np.maximum(pairs.sources.lengths, pairs.targets.lengths) <= longest)
        if not len(kept):
            raise UserError(f"config.data.longest: every training pair has more than {longest} tokens on a side")
        return pairs if len(kept) == len(pairs) else pairs.take(kept)

    def check_lengths(self, examples: list[Example], split: str) -> None:
        """Refuses what can be neither left out, for the scores would not be those of the split, nor held in memory.

        Raises:
          UserError: names the first text with more than `data.longest` tokens.
        """
        pairs, longest = self.encode(examples), self.config.data.longest
        for side, lengths in {"source": pairs.sources.lengths, "target": pairs.targets.lengths}.items():
            if max(lengths, default=0) > longest:
                raise UserError(
                    f"config.data.longest: a {side} of the {split} split has {max(lengths):,} tokens, more than "
                    f"{longest:,}; take it out of the data, or allow it"
                )

    def output_limit(self, source_lengths: np.ndarray) -> np.ndarray:
        """Bounds the tokens of an output, EOS counted, for sources of these lengths: `evaluation.max_tokens` where it
        is set, else by what training had."""
        fixed = self.config.evaluation.max_tokens
        return np.full_like(source_lengths, fixed) if fixed else self.lengths.output_limit(source_lengths)

    def best_params(self) -> tuple[int, ModelParams]:
        """Reads the step and the parameters of the best evaluation so far; of an ensemble, the step of its first model.

        With `evaluation.average` = n above 1 they are the mean over the n newest of those that were the best when they
        were saved; where there are fewer, over those, with a word on stderr. The n of an ensemble's first model holds
        for all of them.

        Raises:
          UserError: nothing has been saved yet.
        """
        wanted = self.config.evaluation.average
        if not self.members:
            return self._best_params(wanted)
        found = [experiment._best_params(wanted) for experiment in (self, *self.members)]
        each = enumerate(params for _, params in found)
        return found[0][0], {f"models/{i}/{name}": v for i, params in each for name, v in params.items()}

    def _best_params(self, wanted: int) -> tuple[int, ModelParams]:
        """Of its own model alone."""
        _, params = split_model(self.make_model())
        store = Checkpoints(self.workdir / "best", keep=wanted, reading=True)
        try:
            newest = list(itertools.islice(store.newest(params), wanted))
        finally:
            store.close()
        if not newest:
            raise UserError(f"{self.workdir}: holds no whole checkpoint in its folder best; train it first")
        if len(newest) < wanted:
            logging.getLogger("rnnlab").warning(
                "%s holds %d best checkpoints, fewer than evaluation.average=%d; the mean is over those",
                self.workdir,
                len(newest),
                wanted,
            )
        if len(newest) == 1:
            return newest[0].step, jax.device_put(newest[0].arrays)
        mean = jax.tree.map(lambda *values: sum(values) / len(values), *(restored.arrays for restored in newest))
        return newest[0].step, jax.device_put(mean)


def log_vocabularies(experiment: Experiment, splits: Mapping[str, Pairs]) -> None:
    """Logs the size of each vocabulary and the share of unknown tokens in each of `splits`: a warning where it is
    large, or where a vocabulary is empty."""
    for side in ("source", "target"):
        size = len(getattr(experiment, side)) - (UNK + 1)
        shares = {split: getattr(pairs, f"{side}s").share(UNK) for split, pairs in splits.items()}
        unknown = ", ".join(f"{share:.2%} of {split}" for split, share in shares.items())
        few = not size or max(shares.values()) > _MANY_UNKNOWN
        hint = f"; look at config.data.{side}.unit and min_count" if few else ""
        level = logging.WARNING if few else logging.INFO
        logging.getLogger("rnnlab").log(
            level, "%s vocabulary: %s tokens; unknown: %s%s", side, f"{size:,}", unknown, hint
        )


def open_corpus(config: ConfigDict, digests: Mapping[str, str] | None = None) -> Corpus:
    """The dataset that the config names; with `digests`, other contents are refused when they are read."""
    data = config.data
    where = {"prepared": data.prepared, "files": data.files.to_dict(), "directory": data.directory}
    return Corpus(data.name, language=data.language, expected=digests, **where)


def create_experiment(config: ConfigDict, workdir: pathlib.Path) -> tuple[Experiment, Corpus]:
    """Makes the work directory, or goes on in one that was made by the same config.

    Everything that can be wrong is checked before anything is written; the config, in which paths become absolute, is
    written last.

    Raises:
      UserError: a config that no run can use, one that differs from the saved one in seed, data or model, or data with
        other contents than the run was made with.
    """
    _check_config(config)
    resolve_paths(config)
    if (workdir / "config.json").exists():
        return _resume_experiment(config, workdir)
    corpus = open_corpus(config)
    digests = {split: corpus.digest(split) for split in corpus.splits}
    examples = corpus.read("train")
    texts = {"source": [e.source for e in examples], "target": [t for e in examples for t in e.targets]}
    vocabularies = {}
    for side in texts:
        try:
            vocabularies[side] = Vocabulary.build(texts[side], **config.data[side])
        except UserError as error:
            raise UserError(f"config.data.{side}.{error}") from None
    sides = vocabularies["source"], vocabularies["target"]
    experiment = Experiment(config, workdir, *sides, [], Lengths(0, 0, 0.0), digests)
    pairs = experiment.training_pairs(examples)
    experiment = dataclasses.replace(
        experiment, sizes=bucket_sizes(pairs, config.data.buckets), lengths=Lengths.of(pairs)
    )
    workdir.mkdir(parents=True, exist_ok=True)
    for side, vocabulary in vocabularies.items():
        vocabulary.save(workdir / f"{side}_vocabulary.json")
    write_text(workdir / "buckets.json", json.dumps(experiment.sizes))
    write_text(workdir / "lengths.json", json.dumps(experiment.lengths._asdict()))
    write_text(workdir / "data.json", json.dumps(digests))
    write_text(workdir / "config.json", config.to_json_best_effort(indent=2))
    return experiment, corpus


def _resume_experiment(config: ConfigDict, workdir: pathlib.Path) -> tuple[Experiment, Corpus]:
    saved = open_experiment(workdir)
    check_same_run(saved.config, config, workdir, fixed=_FIXED_IN_TRAINING)
    corpus = open_corpus(config, saved.digests)
    if gone := [split for split in saved.digests if split not in corpus.splits]:
        raise UserError(
            f"config.data: {workdir} was made with a {gone[0]} split; give it back, or use another --workdir"
        )
    digests = {split: corpus.digest(split) for split in corpus.splits}
    if digests != saved.digests:  # a split is new
        write_text(workdir / "data.json", json.dumps(digests))
    if config.to_dict() != saved.config.to_dict():
        write_text(workdir / "config.json", config.to_json_best_effort(indent=2))
    return dataclasses.replace(saved, config=config, digests=digests), corpus


def open_experiment(workdir: pathlib.Path, config: ConfigDict | None = None) -> Experiment:
    """Reads a work directory.

    Args:
      workdir: what `create_experiment` made.
      config: holds instead of the saved one, if it describes the same model; a split that it takes from elsewhere may
        hold anything.

    Raises:
      UserError: it is not one, a file of it is damaged, or the config describes another model.
    """
    if not (workdir / "config.json").exists():
        raise UserError(f"{workdir}: not a work directory (it holds no config.json); train first, with --config")
    saved_config = default_config()
    try:
        saved_config.update(_read_json(workdir / "config.json"))
        sizes = [(int(s), int(t)) for s, t in _read_json(workdir / "buckets.json")]
        if not sizes:
            raise ValueError("no bucket")
        of_training = _read_json(workdir / "lengths.json")
        lengths = Lengths(int(of_training["source"]), int(of_training["target"]), float(of_training["ratio"]))
        digests = {str(split): str(digest) for split, digest in _read_json(workdir / "data.json").items()}
    except FileNotFoundError as error:
        name = pathlib.Path(error.filename).name
        raise UserError(f"{workdir}: {name} is missing; an older version of rnnlab wrote none") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        files = "config.json, buckets.json, lengths.json or data.json"
        raise UserError(f"{workdir}: {files} is damaged: {error}") from None
    source, target = (Vocabulary.load(workdir / f"{side}_vocabulary.json") for side in ("source", "target"))
    if config is not None:
        resolve_paths(config)
        check_same_run(saved_config, config, workdir, fixed=_FIXED_IN_USE)
        digests = {split: value for split, value in digests.items() if _same_data(saved_config, config, split)}
    return Experiment(config or saved_config, workdir, source, target, sizes, lengths, digests)


def _read_json(path: pathlib.Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _same_data(saved: ConfigDict, config: ConfigDict, split: str) -> bool:
    fields = ("data.name", "data.language", "data.directory", f"data.files.{split}")
    return all(get_field(saved, field) == get_field(config, field) for field in fields)


def open_ensemble(workdirs: Sequence[pathlib.Path], config: ConfigDict | None = None) -> Experiment:
    """Reads several work directories, whose models then answer together; the first one's settings hold.

    Raises:
      UserError: what `open_experiment` refuses, or vocabularies that differ.
    """
    first, *others = (open_experiment(workdir, config if i == 0 else None) for i, workdir in enumerate(workdirs))
    for other in others:
        for side in ("source", "target"):
            if getattr(other, side) != getattr(first, side):
                raise UserError(
                    f"{other.workdir}: its {side} vocabulary is not that of {first.workdir}; models that answer "
                    "together must be trained on the same data in the same units"
                )
    return dataclasses.replace(first, members=tuple(others))


def check_same_run(saved: ConfigDict, config: ConfigDict, workdir: pathlib.Path, *, fixed: tuple[str, ...]) -> None:
    """Refuses a config that differs from the saved one in the fields `fixed`, or in those within them.

    Other differences (steps, evaluation) are told of, and hold from now on.

    Raises:
      UserError: names the first field that differs, and both values.
    """
    changed = []
    for path in field_paths(config):
        old, new = get_field(saved, path), get_field(config, path)
        if isinstance(new, ConfigDict) or old == new:
            continue
        if _is_in(path, fixed) and not _is_in(path, _PLACES):
            raise UserError(
                f"config.{path}: {workdir} was made with {old!r}, not {new!r}; "
                f"{', '.join(fixed)} cannot change within a run: use another --workdir"
            )
        changed.append((path, old, new))
    for each in changed:
        logging.getLogger("rnnlab").info("config.%s: was %r, is %r from now on", *each)


def _is_in(path: str, fields: Sequence[str]) -> bool:
    return any(f"{path}.".startswith(f"{field}.") for field in fields)


def _check_config(config: ConfigDict) -> None:
    check_ranges(config)
    make_optimizer(config.training)
    allowed = ("loss", "perplexity", *metric_names(config))
    check_metrics(config)
    if config.training.best_metric not in allowed:
        wanted = difflib.get_close_matches(config.training.best_metric, allowed, 1)
        hint = f" (did you mean {wanted[0]!r}?)" if wanted else ""
        raise UserError(
            f"config.training.best_metric: unknown {config.training.best_metric!r}{hint}; allowed: {', '.join(allowed)}"
        )
    nnx.eval_shape(lambda: _make_model(config, EOS + 2, EOS + 2))  # however large it is, it costs no memory
    Intervention(config)
    make_teacher_forcing(config)


def check_metrics(config: ConfigDict) -> None:
    """Refuses metrics that there are not.

    Raises:
      UserError: an unknown metric or tokenizer of BLEU, or one that needs what is not installed.
    """
    for name in metric_names(config):
        if name not in (*METRICS, FREE_RUNNING):
            raise UserError(
                f"config.evaluation.metrics: unknown {name!r}; allowed: {', '.join((*METRICS, FREE_RUNNING))}"
            )
    field, tokenizer = "config.evaluation.bleu_tokenizer", config.evaluation.bleu_tokenizer
    if tokenizer not in bleu_tokenizers():
        raise UserError(f"{field}: unknown {tokenizer!r}; allowed: {', '.join(bleu_tokenizers())}")
    if "bleu" in metric_names(config):
        try:
            translation_scores(["a"], [["a"]], tokenizer=tokenizer)
        except Exception as error:  # each tokenizer needs a package or a download of its own, and fails in its own way
            raise UserError(f"{field}: {tokenizer!r} cannot be used here: {error}") from None


def _make_model(config: ConfigDict, source_size: int, target_size: int) -> Seq2Seq:
    options = config.model.to_dict() | {"never_predicted": SIGNS.never_predicted}
    try:
        return Seq2Seq(source_size, target_size, rngs=nnx.Rngs(jax.random.key(config.seed)), **options)
    except ValueError as error:
        raise UserError(f"config.model: {error}") from None
