import csv
import json

import numpy as np
import pytest

from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task
from tests import exporting, nightly
from tests.tasks.sequence import files


def _exported(config, tmp_path):
    """A function that predicts a file, and one that runs the exported model on sequences."""
    task = create_task(config, tmp_path / "w")
    _, params = split_model(task.make_model())
    folder = exporting.export(task, params, tmp_path / "out")
    predict = task.predictor(params)
    return (
        lambda content: predict([content.encode()], 0),
        lambda sequences: exporting.run(folder, "".join(f"{json.dumps(each)}\n" for each in sequences).encode()),
    )


def test_classes_of_sequences_of_numbers(tmp_path):
    predict, run = _exported(files.config("ts", "class", files.ts(tmp_path), evaluation__batch_size=8), tmp_path)
    content = (tmp_path / "test.ts").read_text()
    channels = [[own.split(",") for own in line.split(":")[:2]] for line in content.splitlines()[6:]]
    found = run([np.array(each, float).T.tolist() for each in channels])
    assert found == predict(content)
    assert set(found) == {"a", "b"}


@pytest.mark.nightly
def test_answers_in_the_units_of_the_data(tmp_path):
    predict, run = _exported(files.config("ts", "numbers", files.numbers(tmp_path)), tmp_path)
    wanted = predict("@dimension 2\n@targetlabel true\n@data\n1,2:3,4:0\n5,6,7:8,9,10:0\n")
    found = run([[[1, 3], [2, 4]], [[5, 8], [6, 9], [7, 10]]])
    np.testing.assert_allclose([json.loads(line)[0] for line in found], [*map(float, wanted)], rtol=1e-5)


@pytest.mark.nightly
def test_classes_of_texts(tmp_path):
    predict, run = _exported(files.config("labelled_text", "class", files.texts(tmp_path)), tmp_path)
    texts = ["zab", "c", "dédz", "abcd " * 9]
    assert run(texts) == predict("\n".join(texts))


@pytest.mark.parametrize("characters", [6, *nightly.only(0)])
def test_tags_of_words(tmp_path, characters):
    fields = {"model__bidirectional": True, "model__character_features": characters}
    predict, run = _exported(files.config("tagged", "class_per_step", files.tagged(tmp_path), **fields), tmp_path)
    sentences = [["Ann", "Smith", "sees"], ["x" * 40, "and"], ["Bob"]]
    written = predict("\n\n".join("\n".join(words) for words in sentences) + "\n")
    tags = [line.partition("\t")[2] for line in written if line]
    assert [tag for line in run(sentences) for tag in json.loads(line)] == tags
    assert len(set(tags)) > 1


@pytest.mark.nightly
@pytest.mark.parametrize("cell", ["gru", "s5"])
def test_times_and_missing_values(tmp_path, cell):
    lines = ["id,t,x,class"]
    for sequence in range(8):
        lines += [f"{sequence},{t},{x},{'ab'[sequence % 2]}" for t, x in ((0, sequence), (2, 3), (6, 2))]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    columns = {"data__columns__sequence": "id", "data__columns__time": "t", "data__missing": "fill"}
    names = dict.fromkeys(("train", "test"), str(tmp_path / "train.csv"))
    predict, run = _exported(files.config("csv", "class", names, **columns, model__cell=cell), tmp_path)
    rows = [(number, step, value) for number in range(6) for step, value in ((0, number), (4, None), (5 + number, -3))]
    content = "id,t,x\n" + "".join(f"{n},{t},{'' if x is None else x}\n" for n, t, x in rows)
    sequences = [[[number, 0], [None, 4], [-3, 1 + number]] for number in range(6)]
    assert run(sequences) == predict(content)


@pytest.mark.parametrize(
    "fields",
    [{"model__forecast__distribution": "student"}, *nightly.only({"model__forecast__quantiles": "0.1,0.5,0.9"})],
    ids=str,
)
def test_forecasts_in_the_units_of_the_data(tmp_path, fields):
    series = np.stack([50 + np.arange(60) % 7, 1e-2 * np.arange(60)], axis=1).round(3)
    (tmp_path / "train.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in series))
    fields |= {"data__look_back": 12, "data__horizon": 5, "data__rows": "40,10,10"}
    config = files.config("csv", "forecast", {"train": str(tmp_path / "train.csv")}, **fields)
    predict, run = _exported(config, tmp_path)
    wanted = list(csv.reader(predict("x,y\n" + "".join(f"{x},{y}\n" for x, y in series[:30]))))[1:]
    (found,) = run([series[:30].tolist()])
    np.testing.assert_allclose(json.loads(found), np.array(wanted, float)[:, 1:], rtol=1e-5)
