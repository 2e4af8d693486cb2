"""A trained model at work: a line in, a line out."""

import logging
import pathlib
import queue
import threading
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from rnnlab.data.vocabulary import EOS, PAD, UNK
from rnnlab.decoding import Hypotheses
from rnnlab.errors import UserError
from rnnlab.training.evaluation import CUT, Evaluator, was_cut
from rnnlab.training.experiment import Experiment
from rnnlab.training.plots import write_attention

_LINES_AT_ONCE = 2048  # most lines searched together, so that the length buckets fill up
_LONGEST = 4  # times the longest source of training: what is longer is cut there


def predict(
    experiment: Experiment,
    lines: BinaryIO,
    answers: BinaryIO,
    *,
    n_best: int = 0,
    token_scores: bool = False,
    attention: pathlib.Path | None = None,
) -> None:
    """Writes one line for each line read, in order, as soon as it is known.

    An empty line gives an empty line. Symbols that training did not have, bytes that are not UTF-8 and lines longer
    than training's longest are predicted as well as can be, and counted on stderr at the end.

    Args:
      experiment: what to use; its best parameters, its search.
      lines, answers: UTF-8, a source or an output a line.
      n_best: 0 writes the best output; n writes the n best, each followed by its score (log-probability in nats over
        the length penalty, less the coverage penalty), all between TABs.
      token_scores: follows each output, and its score, with the log-probabilities of its tokens, EOS's last.
      attention: folder for an array `line_<i>.npy` `[output, source]`, the end sign's row last, and a picture of it,
        `line_<i>.png`, for the best output of each line i, counted from 1, that is not empty.

    Raises:
      UserError: more outputs wanted than the beam holds, attention of a model without, a work directory without a
        whole checkpoint, or lines that cannot be read any further (those before are answered).
    """
    if attention is not None and experiment.config.model.attention == "none":
        raise UserError(f"--attention: the model of {experiment.workdir} has none")
    beam_size = experiment.config.evaluation.beam_size
    if n_best > beam_size:
        raise UserError(f"--n_best: {n_best} is more than --beam_size={beam_size} keeps; make the beam as wide")
    _, params = experiment.best_params()
    if attention is not None:
        attention.mkdir(parents=True, exist_ok=True)
    evaluator = Evaluator(experiment, beam_size=beam_size, draws=True)
    longest = experiment.sizes[-1][0]
    total = unknown = long = cut = cut_outputs = 0
    for chunk in _chunks(lines):
        sources = [experiment.source.encode(line.decode("utf-8-sig", "replace").strip()) for line in chunk]
        total += len(sources)
        unknown += sum(UNK in ids for ids in sources)
        long += sum(len(ids) > longest for ids in sources)
        cut += sum(len(ids) > _LONGEST * longest for ids in sources)
        first = total - len(sources)
        kept = [ids[: _LONGEST * longest] for ids in sources]
        found = evaluator.search(params, kept, start=first)
        for hypotheses in found:
            cut_outputs += any(map(was_cut, hypotheses.tokens[: n_best or 1]))
            answers.write(_answer(experiment, hypotheses, n_best, token_scores).encode() + b"\n")
        answers.flush()
        if attention is not None:
            stems = [attention / f"line_{first + i}" for i in range(1, len(kept) + 1)]
            write_attention(evaluator, params, kept, [each.tokens[0] for each in found], stems)
    counts = {
        "held unknown symbols": unknown,
        f"were longer than the {longest} symbols of training": long,
        f"were cut at {_LONGEST * longest} symbols": cut,
        f"have outputs that {CUT}": cut_outputs,
    }
    for what, number in counts.items():
        if number:
            logging.getLogger("rnnlab").warning("%d of %d lines %s", number, total, what)


def _answer(experiment: Experiment, found: Hypotheses, n_best: int, token_scores: bool) -> str:
    """The output, or columns of them; what would begin another line or column becomes a blank."""
    breaking = str.maketrans(dict.fromkeys("\n\r\t" if n_best or token_scores else "\n\r", " "))
    columns = []
    for tokens, score, log_p in zip(*(part[: n_best or 1] for part in found), strict=True):
        if (tokens != PAD).any() and (not n_best or np.isfinite(score)):
            columns.append(experiment.target.decode(tokens).translate(breaking))
            columns += [f"{score:.6f}"] if n_best else []
            if token_scores:
                terms = [*experiment.target.in_text_order(log_p[tokens > EOS]), *log_p[tokens == EOS]]
                columns.append(" ".join(f"{value:.6f}" for value in terms))
    return "\t".join(columns)


class _End(NamedTuple):
    """The end of the lines, and what made it come too early."""

    failure: Exception | None


def _chunks(lines: BinaryIO) -> Iterator[list[bytes]]:
    """The lines that are there, up to `_LINES_AT_ONCE`, without waiting for more than the first.

    Raises:
      UserError: the lines cannot be read, after those that could be.
    """
    waiting: queue.Queue[bytes | _End] = queue.Queue(2 * _LINES_AT_ONCE)

    def read():
        failure = None
        try:
            for line in lines:
                waiting.put(line)
        except Exception as error:  # of whatever kind the lines come from
            failure = error
        waiting.put(_End(failure))

    threading.Thread(target=read, daemon=True).start()
    end = None
    while end is None:
        chunk: list[bytes] = []
        while end is None and len(chunk) < _LINES_AT_ONCE and not (chunk and waiting.empty()):
            got = waiting.get()
            if isinstance(got, _End):
                end = got
            else:
                chunk.append(got)
        yield chunk
    if (failure := end.failure) is not None:
        reason = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
        raise UserError(f"the lines to predict cannot be read any further: {reason}")
