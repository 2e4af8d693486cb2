"""The experiment that trains, resumes, evaluates and uses a seq2seq model out of one work directory.

config -> experiment (vocabularies, model) -> loop (step, evaluation, checkpoints, logging) -> prediction.
Imports everything below it; only `launch.py` and `configs/` import it.
"""

from rnnlab.training.breakdown import breakdown
from rnnlab.training.compile_cache import use_compile_cache
from rnnlab.training.config import check_ranges
from rnnlab.training.distributed import join
from rnnlab.training.evaluation import evaluate
from rnnlab.training.experiment import open_ensemble
from rnnlab.training.flow import measure_flow
from rnnlab.training.loop import Interrupted, train
from rnnlab.training.prediction import predict

__all__ = [
    "Interrupted",
    "breakdown",
    "check_ranges",
    "evaluate",
    "join",
    "measure_flow",
    "open_ensemble",
    "predict",
    "train",
    "use_compile_cache",
]
