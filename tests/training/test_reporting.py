import jax.numpy as jnp
import pytest

from rnnlab.training.flow import Flow, flow_table
from rnnlab.training.reporting import Reporter, read_metrics


def _report(folder, steps, start=0):
    reporter = Reporter(folder, steps=10, start=start)
    for step in steps:
        reporter.write(step, "train", {"loss": step / 3, "signature": "text"})
    reporter.close()


def test_values_are_kept_to_the_last_digit_in_the_csv_and_in_event_files(tmp_path):
    _report(tmp_path, [1, 2])
    rows = read_metrics(tmp_path)
    assert [(int(r["step"]), r["split"], r["name"], float(r["value"])) for r in rows] == [
        (1, "train", "loss", 1 / 3),
        (2, "train", "loss", 2 / 3),
    ]
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_restart_drops_what_came_after_its_checkpoint_and_a_line_cut_short(tmp_path):
    _report(tmp_path, [1, 2, 3])
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,train,lo")
    _report(tmp_path, [3, 4], start=2)
    assert [int(row["step"]) for row in read_metrics(tmp_path)] == [1, 2, 3, 4]


def test_lines_on_stderr_tell_step_split_and_values(tmp_path, capsys):
    _report(tmp_path, [7])
    assert "step      7  train       loss 2.333  signature text" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "step,split,name,value\n"])
def test_no_rows_are_no_metrics(tmp_path, content):
    assert read_metrics(tmp_path) == []
    (tmp_path / "metrics.csv").write_text(content)
    assert read_metrics(tmp_path) == []


def test_a_line_has_what_is_to_be_shown_and_the_csv_all(tmp_path, capsys):
    reporter = Reporter(tmp_path, steps=10, start=0)
    values = {"loss": 2.5, "gradient_norm": 0.125, "clipped": 1.0, "tokens_per_second": 123456.0}
    reporter.write(10, "train", values, shown=("loss", "gradient_norm", "tokens_per_second", "skipped"))
    reporter.write(10, "flow", {"encoder/0/exponent": 1.0}, shown=())
    reporter.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("step     10  train       loss 2.5  gradient 0.125  tokens/s 123,456")
    assert len(line) <= 80
    assert [row["name"] for row in read_metrics(tmp_path)] == [*values, "encoder/0/exponent"]


def test_a_flow_table_has_a_line_for_each_recurrence_and_continues_a_log_line():
    names = ("exponent", "log_norm", "early_share", "saturated")
    flow = Flow({name: jnp.float32(-1.23456e-5) for name in names} | {"dimension": jnp.float32(3)}, {}, {})
    head, *lines = flow_table({"encoder/0/forward": flow, "decoder/0": flow}).splitlines()
    start = len("[   56 s] step     10  flow        ")
    assert head.split() == list(names)
    assert [line.split()[0] for line in lines] == ["encoder/0/forward", "decoder/0"]
    assert [len(line) for line in lines] == [start + len(head)] * 2
    assert start + len(head) <= 80
