"""Deliberate faults, each of which must make a test fail.

    python -m tests.mutants                   all of them
    python -m tests.mutants sharding.rule     some

Each is put into a copy of the code, whose tests are then run: those that are named for it, and have passed before.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[1]


class Mutant(NamedTuple):
    """A fault: in the file at `path`, `right`, which stands there once, becomes `wrong`; `tests` must notice."""

    path: str
    right: str
    wrong: str
    tests: str

    def text(self) -> str:
        """The file with the fault.

        Raises:
          ValueError: `right` does not stand there once.
        """
        text = (ROOT / self.path).read_text(encoding="utf-8")
        if text.count(self.right) != 1:
            raise ValueError(f"{self.path}: {self.right!r} stands there {text.count(self.right)} times, not once")
        return text.replace(self.right, self.wrong)


_KIT = "tests/test_testing.py::test_every_registered_cell_keeps_every_promise[lstm/heads2]"
MUTANTS = {
    "scan.padding_is_read": Mutant("rnnlab/scans/entry.py", "return at < lengths if", "return at <= lengths if", _KIT),
    "scan.updates_the_wrong_rows": Mutant(
        "rnnlab/scans/select.py", "jnp.where(own, new, old)", "jnp.where(own, old, new)", _KIT
    ),
    "scan.mask_not_in_the_backward_pass": Mutant(
        "rnnlab/scans/pull.py", "apply_mask(d_hidden, self.given.mask)", "d_hidden", _KIT
    ),
    "scan.gradient_over_a_segment_start": Mutant(
        "rnnlab/scans/select.py",
        "return select_state(segment_starts, zeros, d_entered), select_state",
        "return d_entered, select_state",
        _KIT,
    ),
    "scan.gradient_of_r_at_a_segment_start": Mutant(
        "rnnlab/scans/backward.py",
        "hidden = jnp.where(starts[..., None], initial[0].astype(hidden.dtype), hidden)",
        "pass",
        _KIT,
    ),
    "scan.order_of_matrices": Mutant(
        "rnnlab/scans/linear.py",
        "_times(matrices, early_matrices)",
        "_times(early_matrices, matrices)",
        "tests/scans/test_linear.py",
    ),
    "scan.newton_trusts_what_has_not_converged": Mutant(
        "rnnlab/scans/newton.py",
        "converged = trusted & (error <= _TRUST * method.tolerance)",
        "converged = count > 0",
        "tests/scans/test_newton.py",
    ),
    "scan.shards_do_not_vary": Mutant(
        "rnnlab/scans/sharding.py",
        'jax.lax.pcast(v, tuple(sorted(axes - _varying(v))), to="varying")',
        "v",
        "tests/scans/test_transformations.py",
    ),
    "scan.compiled_at_every_call": Mutant(
        "rnnlab/scans/eager.py", "isinstance(trace, core.EvalTrace) and", "False and", "tests/scans/test_entry.py"
    ),
    "loss.smoothing": Mutant(
        "rnnlab/losses.py", "highest - (1 - smoothing) * picked", "highest - picked", "tests/test_losses.py"
    ),
    "loss.weights": Mutant("rnnlab/losses.py", "losses * weights, 0", "losses, 0", "tests/test_losses.py"),
    "loss.sum_for_mean": Mutant(
        "rnnlab/training/step.py",
        "mean = found.total / found.weight",
        "mean = found.total",
        "tests/training/test_step.py",
    ),
    "training.clipping": Mutant(
        "rnnlab/training/optimizer.py",
        "v / found.astype(v.dtype) * limit",
        "v * limit",
        "tests/training/test_optimizer.py",
    ),
    "training.same_dropout_at_every_step": Mutant(
        "rnnlab/training/step.py",
        "jax.random.fold_in(jax.random.key(seed, impl=generator), step)",
        "jax.random.key(seed, impl=generator)",
        "tests/training/test_step.py",
    ),
    "training.skipped_steps_count": Mutant(
        "rnnlab/training/step.py",
        "jnp.where(counts, new, old)",
        "new",
        "tests/training/test_guard.py::test_a_step_that_is_not_finite_changes_nothing_but_its_number",
    ),
    "training.carry_of_the_step_before": Mutant(
        "rnnlab/training/step.py", "guard=guard, carry=read", "guard=guard", "tests/training/test_step.py"
    ),
    "search.stops_at_the_first": Mutant(
        "rnnlab/search/beam.py",
        "beam.finished.scores.min(1)",
        "beam.finished.scores.max(1)",
        "tests/search/test_search.py",
    ),
    "search.one_token_too_many": Mutant(
        "rnnlab/search/beam.py", "(time + 1 >= limits)", "(time >= limits)", "tests/search/test_search.py"
    ),
    "search.carry_of_another_hypothesis": Mutant(
        "rnnlab/search/beam.py",
        "jax.tree.map(lambda leaf: leaf[rows], carry)",
        "carry",
        "tests/search/test_search.py",
    ),
    "search.share_of_the_likeliest": Mutant(
        "rnnlab/search/single.py", "(before < top_p)", "(before + p < top_p)", "tests/search/test_search.py"
    ),
    "checkpoint.digest": Mutant(
        "rnnlab/training/checkpoint.py",
        "state.update(value.tobytes())",
        "pass",
        "tests/training/test_checkpoint.py",
    ),
    "checkpoint.moved_by_a_reader": Mutant(
        "rnnlab/training/checkpoint.py", "if self._reading:\n", "if False:\n", "tests/training/test_checkpoint.py"
    ),
    "checkpoint.forgets_one_more": Mutant(
        "rnnlab/training/checkpoint.py", "if found > step]", "if found >= step]", "tests/training/test_checkpoint.py"
    ),
    "checkpoint.position_of_the_data": Mutant(
        "rnnlab/data/streams.py",
        'self._epoch, self._done = state["epoch"], state["done"]',
        'self._epoch = state["epoch"]',
        "tests/data/test_streams.py",
    ),
    "sharding.rule": Mutant(
        "rnnlab/training/sharding.py",
        "if rule.pattern.search(name)), None)",
        "if not rule.pattern.search(name)), None)",
        "tests/training/test_sharding.py::test_the_first_rule_that_matches_counts",
    ),
    "sharding.whole": Mutant(
        "rnnlab/training/devices.py",
        "return self._over(*axes)\n",
        "return self._over()\n",
        "tests/training/test_sharding.py::test_the_optimizer_s_copies_can_be_split_over_the_devices_that_share_a_batch",
    ),
    "sharding.rows_are_gathered": Mutant(
        "rnnlab/scans/product.py",
        "return values if may_be_divided() else",
        "return",
        "tests/scans/test_transformations.py::test_devices_that_share_a_batch_exchange_nothing_but_sums",
    ),
    "sharding.share_of_a_process": Mutant(
        "rnnlab/data/streams.py",
        "slice(process * share, (process + 1) * share)",
        "slice(0, share)",
        "tests/data/test_streams.py",
    ),
}


def _copy(folder: pathlib.Path) -> pathlib.Path:
    for name in ("rnnlab", "configs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "launch.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def _fails(copy: pathlib.Path, tests: set[str]) -> bool:
    """Whether one of the tests of a copy of the code fails; copies side by side share what is compiled."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", *sorted(tests)]
    environment = os.environ | {"TMPDIR": str(copy.parent)}
    run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if run.returncode not in (0, 1):  # 1: tests were run, and one failed
        raise RuntimeError(run.stdout[-3000:] + run.stderr[-3000:])
    return run.returncode == 1


def main(names: list[str]) -> int:
    """Tries the mutants; returns 1 if one survives, or for an unknown name."""
    unknown = [name for name in names if name not in MUTANTS]
    if unknown:
        print(f"unknown mutant {unknown[0]!r}; allowed: {', '.join(MUTANTS)}", file=sys.stderr)
        return 1
    chosen = {name: MUTANTS[name] for name in names or MUTANTS}
    unnoticed = []
    with tempfile.TemporaryDirectory() as folder:
        if _fails(_copy(pathlib.Path(folder, "whole")), {mutant.tests for mutant in chosen.values()}):
            print("a test fails without any fault", file=sys.stderr)
            return 1
        for name, mutant in chosen.items():
            copy = _copy(pathlib.Path(folder, name))
            (copy / mutant.path).write_text(mutant.text(), encoding="utf-8")
            noticed = _fails(copy, {mutant.tests})
            print(f"{name}: {'noticed' if noticed else 'NOT NOTICED'}", flush=True)
            unnoticed += [] if noticed else [name]
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} faults make a test fail")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
