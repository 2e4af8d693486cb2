"""The outputs of a trained model for lines of text."""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from rnnlab.data.pipeline import batch_widths
from rnnlab.data.vocabulary import EOS, PAD, UNK
from rnnlab.errors import UserError
from rnnlab.search import Hypotheses
from rnnlab.tasks.base import ModelParams, Predictor
from rnnlab.tasks.seq2seq.attention import write_attention
from rnnlab.tasks.seq2seq.evaluation import CUT, Evaluator, was_cut
from rnnlab.tasks.seq2seq.task import Seq2SeqTask

LONGEST = 4  # longer sources than this multiple of the longest one in training are cut


class LinePredictor(Predictor):
    """Predicts the best output, or several, for each line.

    An empty line gives an empty line. Lines with symbols that training did not have, bytes that are not UTF-8, or
    longer than the longest in training get a best-effort prediction, and are counted in `remarks`.

    Args:
      task: the task to use, with the search of its config.
      params: of its model.
      n_best: 0 gives the best output; n gives the n best, each followed by its score (log-probability in nats over the
        length penalty, minus the coverage penalty), separated by TABs.
      token_scores: adds the log-probabilities of its tokens after each output and its score, with EOS's last.
      attention: folder for an array `line_<i>.npy` `[output, source]`, EOS's row last, and a picture of it,
        `line_<i>.png`, for the best output of each line i, counted from 1, that is not empty.

    Raises:
      UserError: more outputs than the beam size, or attention of a model without it.
    """

    def __init__(
        self,
        task: Seq2SeqTask,
        params: ModelParams,
        *,
        n_best: int = 0,
        token_scores: bool = False,
        attention: pathlib.Path | None = None,
    ):
        if attention is not None and task.config.model.attention == "none":
            raise UserError(f"--attention: the model of {task.workdir} has no attention")
        beam_size = task.config.evaluation.beam_size
        if n_best > beam_size:
            raise UserError(f"--n_best: {n_best} is more than --beam_size={beam_size}; increase the beam size")
        if attention is not None:
            attention.mkdir(parents=True, exist_ok=True)
        self._task, self._params = task, params
        self._n_best, self._token_scores, self._attention = n_best, token_scores, attention
        self._evaluator = Evaluator(task, beam_size=beam_size, draws=True)
        self._longest = task.sizes[-1][0]
        self._total = self._unknown = self._long = self._cut = self._cut_outputs = 0

    def __call__(self, lines: Sequence[bytes], first: int) -> list[str]:
        """Returns an answer for each line, in order; `first`, the number of the first line, counts from 0."""
        sources = [self._task.source.encode(line.decode("utf-8-sig", "replace").strip()) for line in lines]
        self._total += len(sources)
        self._unknown += sum(UNK in ids for ids in sources)
        self._long += sum(len(ids) > self._longest for ids in sources)
        self._cut += sum(len(ids) > LONGEST * self._longest for ids in sources)
        kept = [ids[: LONGEST * self._longest] for ids in sources]
        found = self._evaluator.search(self._params, kept, start=first)
        self._cut_outputs += sum(any(map(was_cut, each.tokens[: self._n_best or 1])) for each in found)
        if self._attention is not None:
            stems = [self._attention / f"line_{first + i}" for i in range(1, len(kept) + 1)]
            write_attention(self._evaluator, self._params, kept, [each.tokens[0] for each in found], stems)
        return [_answer(self._task, each, self._n_best, self._token_scores) for each in found]

    def warm_up(self) -> Iterator[None]:
        """Compiles the search for each length bucket and number of lines, small numbers first."""
        for width in batch_widths(self._task.config.evaluation.batch_size):
            for source_time, _ in self._task.sizes:
                self._evaluator.search(self._params, [[UNK] * source_time] * width)
                yield

    def remarks(self) -> Iterator[str]:
        """Yields what to log once all lines are answered."""
        counts = {
            "had unknown symbols": self._unknown,
            f"were longer than the {self._longest} symbols of training": self._long,
            f"were cut at {LONGEST * self._longest} symbols": self._cut,
            f"have outputs that {CUT}": self._cut_outputs,
        }
        return (f"{number} of {self._total} lines {what}" for what, number in counts.items() if number)


def _answer(task: Seq2SeqTask, found: Hypotheses, n_best: int, token_scores: bool) -> str:
    """Joins the output, or columns of outputs; characters that start another line or column become blanks."""
    breaking = str.maketrans(dict.fromkeys("\n\r\t" if n_best or token_scores else "\n\r", " "))
    columns = []
    for tokens, score, log_p in zip(*(part[: n_best or 1] for part in found), strict=True):
        if (tokens != PAD).any() and (not n_best or np.isfinite(score)):
            columns.append(task.target.decode(tokens).translate(breaking))
            columns += [f"{score:.6f}"] if n_best else []
            if token_scores:
                terms = [*task.target.in_text_order(log_p[tokens > EOS]), *log_p[tokens == EOS]]
                columns.append(" ".join(f"{value:.6f}" for value in terms))
    return "\t".join(columns)
