import collections
import functools
import json
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import jax
import numpy as np
import pytest
from jax.experimental import rnn

from rnnlab.benchmark.accelerator import driver, facts, job, layer, loop, records, worker
from rnnlab.benchmark.accelerator.driver import run
from rnnlab.benchmark.accelerator.parts import PARTS, Part
from rnnlab.benchmark.cases import Case
from rnnlab.benchmark.implementations import build, jax_layer
from tests import nightly

_ROOT = pathlib.Path(__file__).parents[2]
_FOUND = {
    "facts": (),
    "exactness": ("kept", "excess", "what"),
    "layers": ("median_ms", "spread", "repeats", "bytes", "share_of_product_limit", "share_of_copy_limit", "compile_s"),
    "parallel": ("median_ms", "spread", "repeats", "bytes"),
    "loop": ("median_ms", "spread", "kernels_note"),
    "job": ("median_ms", "spread", "calls_per_s", "tokens_per_s", "bytes"),
}


@pytest.fixture(scope="module", params=nightly.only([*PARTS]), ids="-".join)
def dry(request, tmp_path_factory):
    """The folder of a dry run of some parts, whether a case failed, and the parts."""
    out = tmp_path_factory.mktemp("accelerator")
    return out, run(out, minutes=10.0, only=request.param, tiny=True), request.param


def test_a_dry_run_has_a_whole_row_for_every_case(dry):
    out, failed, parts = dry
    rows = records.read(out / "accelerator.jsonl")
    assert not failed
    for name in parts:
        part = PARTS[name]
        own = [row for row in rows if row["part"] == name]
        assert sorted(records.key(row["case"]) for row in own) == sorted(map(records.key, part.cases(True)))
        for row in own:
            assert records.is_settled(row), row
            assert row["status"] != "ok" or all(row[field] is not None for field in _FOUND[name]), row
        assert any(row["status"] == "ok" for row in own)


def test_the_figures_of_a_dry_run_fit_together(dry):
    rows = [row for row in records.read(dry[0] / "accelerator.jsonl") if row["status"] == "ok"]
    for row in rows:
        if row["part"] == "layers":
            case = row["case"]
            inputs = 4 * case["length"] * case["batch"] * case["hidden"]
            assert row["bytes"] > 2 * inputs  # the inputs and the outputs at least
            assert row["repeats"] >= 10
        if row["part"] == "exactness":
            assert row["kept"] == (row["excess"] <= 1)
        if row["part"] == "job" and "search" in row["case"]["what"]:
            tokens = row["tokens_per_s"] * row["median_ms"] / 1e3
            assert tokens == pytest.approx(16 * row["case"]["batch"])  # none of them ended before
    newton = [row["newton_iterations"] for row in rows if row["case"].get("implementation") == "rnnlab/newton"]
    assert newton
    assert min(newton) > 0
    bound = {row["case"]["precision"]: row for row in rows if row["case"].get("what") == "limits"}
    assert all(row["flops_per_s"] > 0 and row["copied_bytes_per_s"] > 0 for row in bound.values())


def test_the_tables_have_every_part(dry, capsys):
    text = (dry[0] / "accelerator.md").read_text()
    headings = ("Facts", "Promises", "Layers", "Long sequences", "command buffers", "main job")
    for part, heading in zip(PARTS, headings, strict=True):
        assert part not in dry[2] or heading in text
    assert "Without a figure" in text
    assert ("| rnnlab | rnnlab/pallas | lax.scan |" in text) == ("layers" in dry[2])


def test_what_was_measured_is_not_measured_again(dry):
    out, _, parts = dry
    before = records.read(out / "accelerator.jsonl")
    assert not run(out, minutes=1.0, only=parts, tiny=True)
    added = records.read(out / "accelerator.jsonl")[len(before) :]
    assert {row["part"] for row in added} == {"facts"}


def test_a_run_that_is_killed_leaves_what_it_measured_and_no_process(tmp_path):
    command = [sys.executable, "-m", "rnnlab.benchmark.accelerator", f"--out={tmp_path}", "--tiny", "--only=facts"]
    process = subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.DEVNULL)
    path = tmp_path / "accelerator.jsonl"
    while not (found := records.read(path)):
        assert process.poll() is None, "ended without a row"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert found[0]["status"] == "ok"
    assert found[0]["device"]
    while _workers_of(tmp_path):
        time.sleep(0.05)


def _workers_of(folder: pathlib.Path) -> list[str]:
    """Processes that have a file of the folder open."""
    held = []
    for link in pathlib.Path("/proc").glob("[0-9]*/fd/2"):
        try:
            held += [str(link)] if str(folder) in str(link.readlink()) else []
        except OSError:  # it has ended, or is somebody else's
            continue
    return held


# What stands for the worker here, without jax: "ok" writes a row, "crash" ends the process, "hang" never ends.
_SCRIPT = """
    import json, os, sys, time

    job = json.loads(sys.stdin.readline())
    with open(job["path"] + ".environments", "a") as file:
        print(json.dumps([os.environ["WHICH"], job["cases"]]), file=file)
    for start in range(0, len(job["cases"]), 3):
        numbers = job["cases"][start : start + 3]
        print(json.dumps(numbers), flush=True)
        for number in numbers:
            if DOES[number] == "crash":
                os.abort()
            if DOES[number] == "hang":
                time.sleep(1000)
        for number in numbers:
            case = {"number": number, "does": DOES[number]}
            with open(job["path"], "a") as file:
                print(json.dumps({"part": "facts", "run": job["run"], "case": case, "status": "ok"}), file=file)
"""
_DOES = ("ok", "crash", "ok", "ok", "crash", "hang", "ok", "ok")


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """The folder of a part whose processes crash and hang, and whether a case failed."""

    def environment(case: dict) -> dict[str, str]:
        return {"WHICH": "late" if case["number"] > 3 else "early"}

    out, cases = tmp_path_factory.mktemp("scripted"), [{"number": i, "does": does} for i, does in enumerate(_DOES)]
    script = out / "worker.py"
    script.write_text(f"DOES = {_DOES}\n" + textwrap.dedent(_SCRIPT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_WORKER", (sys.executable, "-S", str(script)))  # starts sooner, of 3 s
        patch.setattr(driver, "PARTS", {"facts": Part(1.0, lambda tiny: cases, iter, 3, environment)})
        patch.setattr(driver, "tables", lambda rows: "")
        return out, run(out, minutes=0.05, only=["facts"], tiny=True)


def test_a_crash_or_a_hang_costs_its_own_case_alone(scripted):
    out, failed = scripted
    statuses = {row["case"]["number"]: row["status"] for row in records.read(out / "accelerator.jsonl")}
    assert failed
    assert {number: text.split()[0].rstrip(":") for number, text in statuses.items()} == {
        0: "ok",
        1: "died",
        2: "ok",
        3: "ok",
        4: "died",
        5: "stopped",
        6: "stopped",  # built beside what hangs
        7: "not",
    }
    assert statuses[1] == "died: killed by SIGABRT"
    assert statuses[7].startswith("not reached within")


def test_cases_of_another_environment_have_another_process(scripted):
    path = scripted[0] / "accelerator.jsonl.environments"
    seen = collections.defaultdict(set)
    for which, numbers in map(json.loads, path.read_text().splitlines()):
        seen[which] |= set(numbers)
    assert seen == {"early": {0, 1, 2, 3}, "late": {4, 5, 6, 7}}


def test_a_part_needs_only_the_packages_that_are_named():
    """Those of the requirements that the package's docstring does not name cannot be imported here."""
    named = {"jax", "flax", "optax", "jaxtyping", "ml_collections", "absl-py", "numpy"}
    lines = [line for path in (_ROOT / "requirements").iterdir() for line in path.read_text().splitlines()]
    names = {line.split(";")[0].split(">")[0].split("<")[0].strip() for line in lines if not line.startswith("#")}
    modules = {"scikit-learn": "sklearn", "pillow": "PIL", "orbax-checkpoint": None, "importlib_resources": None}
    absent = [modules.get(name, name.replace("-", "_")) for name in names - named]  # flax itself imports the two
    code = f"""
        import sys
        sys.modules.update(dict.fromkeys({[name for name in absent if name]!r}))
        import rnnlab.benchmark.accelerator.__main__, rnnlab.benchmark.accelerator.worker
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=_ROOT, capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_cudnn_is_given_what_it_takes(monkeypatch):
    """Its program cannot be compiled without a GPU, but its shapes can be known."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    sizes = "compute_rnn_workspace_reserve_space_sizes"  # of the plugin, which is not here
    monkeypatch.setattr(rnn.gpu_rnn, sizes, lambda *_: (1, 1), raising=False)
    layer = build("jax.experimental.rnn", Case("lstm", 3, 5, 8, "float32", "training"))
    outputs, ((d_params,), d_inputs) = jax.eval_shape(layer.function, *layer.calls[0])
    assert outputs.shape == d_inputs.shape == (3, 5, 8)
    assert d_params.shape == (4 * (8 * 8 + 8 * 8 + 2 * 8),)


def test_kernels_are_the_events_of_a_devices_streams(tmp_path):
    def line(name, events):
        return f'lines {{ name: "{name}" {"events { metadata_id: 1 } " * events} }}'

    text = f"""
        planes {{ name: "/host:CPU" {line("python", 7)} }}
        planes {{ name: "/device:GPU:0" {line("Stream #13(Compute)", 4)} {line("Stream #14", 2)} {line("XLA Ops", 3)} }}
        planes {{ name: "/device:TPU:0" {line("XLA Ops", 5)} {line("Steps", 1)} }}
    """
    path = tmp_path / "t.xplane.pb"
    path.write_bytes(jax.profiler.ProfileData.text_proto_to_serialized_xspace(text))
    assert loop._launches(path) == 4 + 2 + 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only=layers,speed"], "unknown part; allowed: facts, exactness, layers, parallel, loop, job"),
        *nightly.only((["--minutes=0"], "minutes"), ([], "--out")),
        (["--out=/dev/null/x", "--tiny"], "error: --out: /dev/null/x: Not a directory"),
    ],
)
def test_a_mistake_is_told_of(arguments, message):
    given = arguments if not arguments or "--out" in arguments[0] else [*arguments, "--out=nowhere"]
    command = [sys.executable, "-m", "rnnlab.benchmark.accelerator", *given]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_what_fails_after_the_times_does_not_cost_them(monkeypatch):
    class Layer:
        build = facts = dict

        def run(self):
            pass

        def device_peak_bytes(self):
            return 7

    def more(case, layer):
        raise RuntimeError("no profiler")

    monkeypatch.setattr(layer, "build", lambda *_: Layer())
    limits = {"flops_per_s": 1.0, "copied_bytes_per_s": 1.0, "empty_step_s": 1.0}
    known = {"x": {"status": "ok", "case": {"dtype": "float32", "precision": "default"}, **limits}}
    ((_, row),) = layer.measure_layers(PARTS["loop"].cases(True)[:1], known, more=more)
    assert (row["status"], row["bytes"], row["further"]) == ("ok", 7, "failed: RuntimeError: no profiler")
    assert row["median_ms"] > 0


def test_limits_that_no_row_has_are_measured_once(monkeypatch):
    measured = []
    monkeypatch.setattr(facts, "measure_limits", lambda dtype: measured.append(dtype) or {"flops_per_s": 1.0})
    facts._limits_now.cache_clear()
    for _ in range(2):
        assert facts.limits_of({}, "bfloat16") == {"flops_per_s": 1.0}
    facts._limits_now.cache_clear()
    assert measured == ["bfloat16"]


def test_layers_share_what_is_drawn():
    case = Case("lstm", 2, 3, 4, "float32", "training")
    first, second, others = build("rnnlab", case), build("lax.scan", case), jax_layer.draw(case, "others")
    assert first.calls[0][1].inputs is second.calls[0][1].inputs
    assert not np.array_equal(first.calls[0][1].inputs, others)
    kept = len(jax_layer._drawn)
    del first, second, others
    assert len(jax_layer._drawn) == kept - 3


def test_a_case_of_the_job_that_fails_costs_itself_alone(monkeypatch):
    def built(case):
        if case["dtype"] == "bfloat16":
            raise RuntimeError("no bfloat16")
        return 7, lambda: None, 1

    monkeypatch.setattr(job, "_built", built)
    found = [row.get("status", "ok") for _, row in job.measure(PARTS["job"].cases(True)[:4], {})]
    assert found == ["ok", "failed: RuntimeError: no bfloat16"] * 2


def test_implementations_of_one_layer_are_measured_together():
    cases = [{"cell": cell, "implementation": name} for cell in "abc" for name in ("x", "y", "z")]
    assert worker._groups(list(range(9)), cases, 4) == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]
    assert worker._groups([0, 4, 8], cases, 1) == [[0], [4], [8]]


def test_long_loops_are_measured_after_all_that_is_parallel():
    cases = PARTS["parallel"].cases(False)
    late = [case["implementation"] == "rnnlab/sequential" and case["length"] > 8192 for case in cases]
    assert late == sorted(late)
    assert sum(late) == 14


def test_ctrl_c_ends_a_run_at_once_and_blames_no_case(tmp_path):
    """While there is much left to do: a busy machine may be slow to send it."""
    only = "--only=exactness,layers,job"
    command = [sys.executable, "-m", "rnnlab.benchmark.accelerator", f"--out={tmp_path}", "--tiny", only]
    heeds = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs in the background ignores it
    process = subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heeds)
    path = tmp_path / "accelerator.jsonl"
    while not _workers_of(tmp_path):
        assert process.poll() is None, "ended without a worker"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert told.endswith(f"stopped; the measurements so far are in {tmp_path}\n")
    assert "Traceback" not in told
    assert all(row["status"] == "ok" for row in records.read(path))
    assert not _workers_of(tmp_path)


def test_rows_of_another_machine_or_of_other_versions_are_left_out():
    def run(name: str, device: str, jax: str) -> list[dict]:
        facts = {"device": device, "devices": 1, "versions": {"jax": jax}}
        own = [{"part": "facts", "case": {"what": "machine"}, **facts}, {"part": "job", "case": {"what": "training"}}]
        return [row | {"run": name, "status": "ok"} for row in own]

    first, second, third, fourth = run("1", "a", "2"), run("2", "b", "2"), run("3", "a", "3"), run("4", "a", "2")
    rows = first + second + third + fourth
    assert records.of_one_machine(rows, "4") == first + fourth
    assert records.of_one_machine(rows, "2") == second
    assert records.of_one_machine(rows, "5") == rows  # of which nothing is known


def test_a_file_may_be_damaged(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'5\n{}\n\xff\xfe\n{"part": "jo')
    row = {"part": "job", "run": "now", "case": {"what": "x"}, "status": "ok"}
    records.append(path, row)
    assert records.read(path) == [row]


def test_a_line_that_was_cut_is_no_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"part": "job", "run": "now", "case": {"what": "x"}, "status": "ok", "figure": np.inf}
    records.append(path, row)
    with open(path, "a") as file:
        file.write('{"part": "jo')
    assert records.read(path) == [{**row, "figure": None}]
