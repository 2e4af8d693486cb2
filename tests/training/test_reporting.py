import pytest

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
