"""The samples of a finished run: predictions of the test split, and pictures of attention weights."""

from rnnlab.printing import show
from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.attention import write_attention
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.tasks.seq2seq.task import Seq2SeqTask

_PICTURES = 4


def write_samples(task: Seq2SeqTask, params: ModelParams) -> None:
    """Writes pictures of attention weights on validation; prints `evaluation.samples` predictions of the test split."""
    evaluator = Evaluator(task, beam_size=task.config.evaluation.beam_size)
    if task.config.model.attention != "none":
        shown = [task.source.encode(example.source) for example in task.corpus.read("validation")[:_PICTURES]]
        found = [each.tokens[0] for each in evaluator.search(params, shown)]
        stems = [task.workdir / f"attention_{i}" for i in range(_PICTURES)]
        write_attention(evaluator, params, shown, found, stems)
    split = "test" if "test" in task.splits else "validation"
    examples = task.corpus.read(split)[: task.config.evaluation.samples]
    for example, predicted in zip(examples, evaluator.predict(params, [e.source for e in examples]), strict=True):
        right = [task.target.read_text(text).text for text in example.targets]
        reference = "" if predicted in right else f"   (reference: {' | '.join(right)})"
        show(f"{example.source} -> {predicted}{reference}")
