"""What a finished run shows: predictions of the test split, and pictures of attention weights."""

from collections.abc import Sequence

from rnnlab.tasks.base import ModelParams
from rnnlab.tasks.seq2seq.attention import write_attention
from rnnlab.tasks.seq2seq.evaluation import Evaluator
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.tasks.shown import Sample, Shown

_PICTURES = 4


def show_samples(task: Seq2SeqTask, params: ModelParams) -> Shown:
    """Predicts `evaluation.samples` outputs of the test split, and draws attention weights on validation."""
    evaluator = Evaluator(task, beam_size=task.config.evaluation.beam_size)
    split = task.final_split
    examples = task.corpus.read(split)[: task.config.evaluation.samples]
    samples = [
        Sample.compared(example.source, predicted, _references(task, example.targets))
        for example, predicted in zip(examples, evaluator.predict(params, [e.source for e in examples]), strict=True)
    ]
    return Shown(samples, _draw_attention(evaluator, params) if task.config.model.attention != "none" else {})


def _draw_attention(evaluator: Evaluator, params: ModelParams) -> dict[str, str]:
    task = evaluator.task
    examples = task.corpus.read("validation")[:_PICTURES]
    sources = [task.source.encode(example.source) for example in examples]
    found = [each.tokens[0] for each in evaluator.search(params, sources)]
    stems = [task.workdir / f"attention_{i}" for i in range(_PICTURES)]
    references = [_references(task, example.targets) for example in examples]
    write_attention(evaluator, params, sources, found, stems, references)
    return {f"{stem.name}.png": f"attention weights: {e.source}" for stem, e in zip(stems, examples, strict=False)}


def _references(task: Seq2SeqTask, targets: Sequence[str]) -> list[str]:
    """Returns references in the form of predictions."""
    return [task.target.read_text(text).text for text in targets]
