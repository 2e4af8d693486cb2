import csv
import io
import json
import logging
import pathlib

import jax
import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from rnnlab.errors import UserError
from rnnlab.run import load
from rnnlab.tasks.sequence.evaluation import Evaluator
from rnnlab.tasks.sequence.prediction import FilePredictor
from rnnlab.tasks.sequence.rows import SequenceBatch
from rnnlab.tasks.sequence.task import SequenceTask
from rnnlab.training.flow import measure_flow
from rnnlab.training.loop import train
from rnnlab.training.report import split_scores
from rnnlab.training.step import split_model
from rnnlab.training.workdir import create_task, open_task
from tests.runs import evaluate, predict
from tests.tasks.sequence import files


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    """A run that learnt classes."""
    folder = tmp_path_factory.mktemp("classes")
    config = files.config("ts", "class", files.ts(folder), training__best_metric="accuracy")
    train(config, folder / "w")
    return folder / "w"


def _answered(workdir, content, **options):
    predict(open_task(workdir), io.BytesIO(content), answers := io.BytesIO(), **options)
    return answers.getvalue().decode().splitlines()


def test_classes_are_learnt_and_scored_by_what_predict_answers(classified, capsys):
    evaluate(open_task(classified), "test")
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    content = (classified.parent / "test.ts").read_bytes()
    labels = [line.rpartition(":")[2] for line in content.decode().splitlines()[6:]]
    found = _answered(classified, content)
    assert scores["examples"] == len(found) == 40
    assert scores["accuracy"] == pytest.approx(100 * sklearn.metrics.accuracy_score(labels, found))
    assert scores["macro_f1"] == pytest.approx(100 * sklearn.metrics.f1_score(labels, found, average="macro"))
    assert scores["f1_a"] == pytest.approx(100 * sklearn.metrics.f1_score(labels, found, pos_label="a"))
    assert scores["accuracy"] > 85


def test_the_classes_of_a_file_that_is_predicted_are_not_looked_at(classified):
    content = (classified.parent / "test.ts").read_bytes()
    assert _answered(classified, content.replace(b":a\n", b":b\n")) == _answered(classified, content)


def test_the_most_likely_classes_come_with_their_probabilities(classified):
    first = _answered(classified, (classified.parent / "test.ts").read_bytes(), n_best=2)[0].split("\t")
    assert sorted(first[::2]) == ["a", "b"]
    assert float(first[1]) + float(first[3]) == pytest.approx(1, abs=1e-5)
    assert float(first[1]) >= float(first[3])


def test_a_run_writes_its_confusion_matrix(classified):
    rows = [line.split(",") for line in (classified / "confusion.csv").read_text().splitlines()]
    assert rows[0] == ["class", "a", "b"]
    assert sum(int(cell) for row in rows[1:] for cell in row[1:]) == 40
    assert (classified / "confusion.png").stat().st_size > 1000
    assert (classified / "classes.csv").read_text().startswith("class,examples,precision,recall,f1\na,")


def test_an_output_does_not_depend_on_what_else_is_in_the_batch(classified):
    run = load(classified)
    rows = run.task.rows("test")
    together = Evaluator(run.task).outputs(run.params, rows)
    for number in range(3):
        steps = rows.inputs.row(number)
        np.testing.assert_allclose(
            run.model(jax.numpy.asarray(steps)[:, None])[0], together[number], rtol=1e-4, atol=1e-5
        )


def test_numbers_are_scored_in_their_own_units(tmp_path):
    task = create_task(files.config("ts", "numbers", files.numbers(tmp_path)), tmp_path / "w")
    params = split_model(task.make_model())[1]
    scores = task.evaluator(final=True)(params, "test")
    outputs = np.stack(Evaluator(task).outputs(params, task.rows("test")))[:, 0]
    train_labels, labels = (np.array([a[0] for a in task.examples[s].answers], np.float64) for s in ("train", "test"))
    found = outputs * train_labels.std() + train_labels.mean()
    assert scores["mse"] == pytest.approx(sklearn.metrics.mean_squared_error(labels, found), rel=1e-5)
    assert scores["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(labels, found), rel=1e-5)
    assert scores["loss"] == pytest.approx(scores["mse"] / train_labels.var(), rel=1e-5)
    (line,) = task.answer.written(outputs[:1])
    assert float(line) == pytest.approx(found[0], rel=1e-8)


@pytest.mark.nightly
def test_texts_are_learnt(tmp_path):
    config = files.config("labelled_text", "class", files.texts(tmp_path), training__best_metric="macro_f1")
    train(config, tmp_path / "w")
    assert load(tmp_path / "w").scores("test")["accuracy"] > 85
    assert load(tmp_path / "w").predict(["no\tzazz", "bab"]) == ["yes", "no"]


@pytest.mark.nightly
@pytest.mark.parametrize("characters", [0, 6])
def test_tags_are_written_beside_their_words(tmp_path, characters):
    fields = {"model__bidirectional": True, "model__character_features": characters}
    config = files.config("tagged", "class_per_step", files.tagged(tmp_path), **fields)
    config.training.update({"best_metric": "entity_f1", "word_dropout": 0.05})
    train(config, tmp_path / "w")
    assert load(tmp_path / "w").scores("test")["entity_f1"] > 95
    found = _answered(tmp_path / "w", b"Ann\nSmith\nsees\n\nand\nBob\n")
    assert found == ["Ann\tB-name", "Smith\tI-name", "sees\tO", "", "and\tO", "Bob\tB-name", ""]


@pytest.mark.nightly
def test_classes_of_steps_are_written_as_a_csv(tmp_path):
    data = {"data__columns__sequence": "id", "data__columns__answer": "sign"}
    config = files.config("csv", "class_per_step", files.steps(tmp_path), **data)
    train(config, tmp_path / "w")
    run = load(tmp_path / "w")
    assert run.scores("test")["accuracy"] > 90
    found = _answered(tmp_path / "w", b"id,x\n1,3\n1,-3\n2,3\n1,2\n")
    assert found[0] == "sequence,step,label"
    assert found[1:4] == ["1,1,up", "1,2,up", "1,3,down"]
    assert found[4] == "2,1,up"


def test_the_loss_of_labels_at_each_step_is_the_likelihood_of_all_of_them(tmp_path):
    rng = np.random.default_rng(0)
    rolls = [(rng.random((length, 5)) < 0.3).astype(np.float64) for length in (4, 6, 3, 5)]
    scipy_rolls = np.empty((1, 4), object)
    scipy_rolls[0] = rolls
    scipy.io.savemat(tmp_path / "rolls.mat", {f"{s}data": scipy_rolls for s in ("train", "valid", "test")})
    config = files.config("piano_roll", "labels_per_step", {"train": str(tmp_path / "rolls.mat")})
    config.training.best_metric = "nll_per_step"
    task = create_task(config, tmp_path / "w")
    model, params = task.make_model(), split_model(task.make_model())[1]
    scores = task.evaluator(final=True)(params, "test")
    nll, steps = 0.0, 0
    for roll in rolls:
        logits = np.asarray(model(jax.numpy.asarray(roll[:-1], jax.numpy.float32)[:, None]))[:, 0]
        nll -= scipy.special.log_expit(np.where(roll[1:] > 0, logits, -logits)).sum()
        steps += len(roll) - 1
    assert scores["nll_per_step"] == scores["loss"] == pytest.approx(nll / steps, rel=1e-5)
    batch = jax.device_put(task.rows("test").assemble([0, 1, 2, 3], (8,), 6))
    found = task.loss(model, batch, (), rngs=None, step=jax.numpy.int32(0))
    assert float(found.total / found.weight) == pytest.approx(nll / steps, rel=1e-5)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_rare_classes_count_more_and_in_balance_all_the_same(tmp_path, power):
    config = files.config("ts", "class", files.ts(tmp_path), training__class_weights=power)
    task = create_task(config, tmp_path / "w")
    counts = np.array(task.known.answer["counts"])
    labels, logits = np.array([0, 1, 1, 0]), np.random.default_rng(0).normal(size=(4, 2))
    batch = SequenceBatch(None, jax.numpy.array([3, 2, 1, 0]), jax.numpy.asarray(labels))
    total, weight = task.answer.loss(jax.numpy.asarray(logits), batch, config.training)
    rarity = np.sqrt(1 / counts) if power < 1 else 1 / counts
    weights = (rarity / np.average(rarity, weights=counts))[labels] * [1, 1, 1, 0]
    nll = -scipy.special.log_softmax(logits, -1)[np.arange(4), labels]
    assert float(total) == pytest.approx((weights * nll).sum(), rel=1e-5)
    assert float(weight) == pytest.approx(weights.sum(), rel=1e-5)
    plain, number = task.answer.loss(jax.numpy.asarray(logits), batch, None)
    assert (float(plain), float(number)) == pytest.approx((nll[:3].sum(), 3), rel=1e-5)


def test_without_a_validation_file_a_share_of_train_is_held_out_whatever_its_order(tmp_path):
    made = files.ts(tmp_path)
    head, lines = (tmp_path / "train.ts").read_text().split("@data\n")
    (tmp_path / "turned.ts").write_text(f"{head}@data\n" + "\n".join(reversed(lines.splitlines())) + "\n")
    held = []
    for name in ("train.ts", "turned.ts"):
        config = files.config("ts", "class", {"train": str(tmp_path / name), "test": made["test"]})
        task = create_task(config, tmp_path / f"{name}_w")
        held.append(sorted(map(str, task.examples["validation"].inputs)))
        assert len(held[-1]) == 12
        assert len(task.examples["train"].inputs) == 108
    assert held[0] == held[1]


def test_a_label_that_train_does_not_have_is_refused_with_its_line(tmp_path):
    made = files.texts(tmp_path)
    lines = (tmp_path / "test.tsv").read_text().splitlines()
    (tmp_path / "test.tsv").write_text("\n".join([*lines[:6], "maybe\tabc", *lines[6:]]) + "\n")
    with pytest.raises(
        UserError, match=r"test.tsv, line 7: the label 'maybe' does not occur in train; it has 'no', 'yes'"
    ):
        create_task(files.config("labelled_text", "class", made), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_file_that_is_predicted_must_have_the_features_of_training(classified):
    content = b"@dimension 3\n@classLabel true a b\n@data\n1,2:1,2:1,2:a\n"
    with pytest.raises(UserError, match="standard input, line 4: 3 features, but train has 2"):
        _answered(classified, content)


@pytest.mark.parametrize("cell", ["gru", "s5"])
def test_irregular_times_are_read_or_stepped_by(tmp_path, cell):
    lines = ["id,t,x,class"]
    for sequence in range(8):
        lines += [f"{sequence},{t},{x},{'ab'[sequence % 2]}" for t, x in ((0, sequence), (2, 3), (6, 2))]
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    made = {split: str(tmp_path / f"{split}.csv") for split in ("train", "test")}
    columns = {"data__columns__sequence": "id", "data__columns__time": "t", "model__cell": cell}
    task = create_task(files.config("csv", "class", made, **columns), tmp_path / "w")
    batch = task.rows("test").assemble([0], (4,), 1)
    wanted = [1, 2 / 3, 4 / 3]  # in units of the mean; of the first step nothing is known
    if cell == "s5":
        np.testing.assert_allclose(batch.dt[:3, 0], wanted, rtol=1e-6)
        assert batch.inputs.shape == (4, 1, 1)
    else:
        assert batch.dt is None
        np.testing.assert_allclose(batch.inputs[:3, 0, 1], wanted, rtol=1e-6)
    task = open_task(tmp_path / "w")
    assert np.isfinite(task.evaluator(final=True)(split_model(task.make_model())[1], "test")["loss"])


def test_a_class_with_one_example_stays_in_train_and_is_told(tmp_path, caplog, monkeypatch):
    made = files.texts(tmp_path)
    (tmp_path / "train.tsv").write_text((tmp_path / "train.tsv").read_text() + "perhaps\tcab\n")
    task = create_task(files.config("labelled_text", "class", made | {"validation": ""}), tmp_path / "w")
    assert task.examples["train"].answers.count("perhaps") == 1
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    task.log_data()
    assert "train has only one example of 'perhaps'" in caplog.text


@pytest.mark.parametrize(
    ("name", "answer", "field", "value"),
    [
        ("ts", "numbers", "training.class_weights", 0.5),
        ("ts", "numbers", "training.label_smoothing", 0.1),
        ("ts", "class", "training.word_dropout", 0.1),
        ("labelled_text", "class", "training.input_noise", 0.1),
        ("labelled_text", "class", "model.character_features", 8),
        ("ts", "class", "data.columns.time", "t"),
        ("ts", "class", "data.tag_scheme", "BIOES"),
        ("ts", "class", "data.unit", "word"),
        ("ts", "class", "data.horizon", 5),
        ("ts", "class", "model.embedding", 7),
        ("ts", "class", "model.forecast.distribution", "normal"),
        ("ts", "class", "training.loss", "absolute"),
        ("csv", "class_per_step", "model.pooling", "mean"),
        ("csv", "forecast", "data.columns.answer", "b"),
        ("csv", "forecast", "model.embedding", 7),
        ("csv", "forecast", "training.class_weights", 1.0),
        ("tagged", "class_per_step", "data.unit", "byte"),
    ],
)
def test_fields_that_would_do_nothing_are_refused(name, answer, field, value):
    config = files.config(name, answer, {})
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=f"config.{field}: {value!r} has no effect with config.data.name='{name}'"):
        SequenceTask.variant(config).check(config)


def test_labels_with_commas_are_cells_of_their_own(tmp_path):
    made = files.steps(tmp_path)
    for path in map(pathlib.Path, made.values()):
        path.write_text(path.read_text().replace(",up", ',"up, high"'))
    data = {"data__columns__sequence": "id", "data__columns__answer": "sign", "training__steps": 1}
    config = files.config("csv", "class_per_step", made, **data, training__log_every=1, training__evaluate_every=1)
    config.training.checkpoint_every = 1
    train(config, tmp_path / "w")
    rows = list(csv.reader(_answered(tmp_path / "w", b"id,x\n1,3\n1,-3\n")))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert {row[2] for row in rows[1:]} <= {"up, high", "down"}


def test_steps_that_have_names_are_those_of_training(tmp_path):
    for name, header in (("train", "a,b,c,class"), ("same", "a,b,class"), ("turned", "b,a,c,class")):
        cells = header.count(",")
        rows = [",".join([*(f"{i}.{j}" for j in range(cells)), "xy"[i % 2]]) for i in range(30)]
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    made = {"train": str(tmp_path / "train.csv")}
    create_task(files.config("csv", "class", made | {"test": str(tmp_path / "same.csv")}), tmp_path / "w")
    with pytest.raises(UserError, match=r"turned.csv, line 2: the step 'b' stands where train has 'a'"):
        create_task(files.config("csv", "class", made | {"test": str(tmp_path / "turned.csv")}), tmp_path / "v")
    task = open_task(tmp_path / "w")
    predictor = FilePredictor(task, split_model(task.make_model())[1])
    with pytest.raises(UserError, match=r"standard input, line 2: the step 'b' stands where train has 'a'"):
        predictor([b"b,a\n1,2\n"], 0)


def test_a_split_that_there_is_not_is_refused_on_one_line(tmp_path):
    made = files.ts(tmp_path)
    task = create_task(files.config("ts", "class", {"train": made["train"]}), tmp_path / "w")
    for use in (split_scores, lambda task, params, split: measure_flow(task, params, split)):
        with pytest.raises(UserError, match="split 'test': not available; allowed: train, validation"):
            use(task, split_model(task.make_model())[1], "test")


def test_data_that_have_changed_are_refused(tmp_path):
    made = files.ts(tmp_path)
    config = files.config("ts", "class", made, training__steps=1, training__log_every=1)
    create_task(config, tmp_path / "w")
    text = (tmp_path / "test.ts").read_text()
    (tmp_path / "test.ts").write_text(text.replace(":a\n", ":b\n", 1))
    with pytest.raises(UserError, match="the test split has changed since the run was started"):
        create_task(config, tmp_path / "w")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"training__best_metric": "mse"},
            "best_metric: 'mse' is not a score of config.data.answer='class'; allowed: loss",
        ),
        ({"data__answer": "clas"}, "config.data.answer: clas is not allowed; it must be one of 'class'"),
        ({"model__pooling": "median"}, "config.model.pooling: unknown 'median'; allowed: last, mean"),
        (
            {"data__name": "piano_roll", "data__answer": "labels_per_step", "model__bidirectional": True},
            "config.model.bidirectional: True is not allowed with config.data.name='piano_roll'",
        ),
        ({"data__name": "xls"}, "config.data.name: 'xls' is not allowed; it must be one of ts, csv"),
        ({"data__files__train": "nowhere.ts"}, "nowhere.ts: cannot be read"),
    ],
)
def test_what_no_run_can_use_is_refused_on_one_line(tmp_path, fields, message):
    config = files.config("ts", "class", files.ts(tmp_path), **fields)
    with pytest.raises(UserError, match=message.replace("(", r"\(")) as error:
        create_task(config, tmp_path / "w")
    assert "\n" not in str(error.value)


def _csv(path, columns, number=24, steps=4, seed=0):
    """Writes rows of steps; the class is which of a and b is larger at the sequence's first step."""
    rng = np.random.default_rng(seed)
    lines = [",".join(columns)]
    for sequence in range(number):
        values = rng.normal(size=(steps, 2)).round(3)
        for a, b in values.tolist():
            cells = {"id": sequence, "a": a, "b": b, "class": "xy"[int(values[0, 0] > values[0, 1])]}
            lines.append(",".join(str(cells[{"c": "b"}.get(name, name)]) for name in columns))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def _csv_config(folder, **fields):
    made = {split: str(folder / f"{split}.csv") for split in ("train", "test")}
    return files.config("csv", "class", made, data__columns__sequence="id", training__steps=2, **fields)


def test_features_are_matched_by_name_in_every_split_and_prediction(tmp_path):
    straight, turned = ("id", "a", "b", "class"), ("id", "b", "class", "a")
    _csv(tmp_path / "train.csv", straight)
    _csv(tmp_path / "test.csv", straight, seed=1)
    rows = create_task(_csv_config(tmp_path), tmp_path / "w").rows("test")
    _csv(tmp_path / "test.csv", turned, seed=1)
    train(_csv_config(tmp_path), tmp_path / "turned")
    np.testing.assert_array_equal(open_task(tmp_path / "turned").rows("test").inputs.values, rows.inputs.values)
    answers = []
    for columns in (straight, turned):
        _csv(tmp_path / "new.csv", columns, seed=2)
        answers.append(_answered(tmp_path / "turned", (tmp_path / "new.csv").read_bytes(), n_best=2))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (("id", "a", "c", "class"), "line 2: other features than in train: without b, with c"),
        (("id", "a", "class"), "line 2: other features than in train: without b"),
        (("id", "a", "b", "c", "class"), "line 2: other features than in train: with c"),
    ],
)
def test_features_of_other_names_than_those_of_training_are_refused(tmp_path, columns, told):
    _csv(tmp_path / "train.csv", ("id", "a", "b", "class"))
    _csv(tmp_path / "test.csv", ("id", "a", "b", "class"))
    task = create_task(_csv_config(tmp_path), tmp_path / "w")
    predictor = task.predictor(split_model(task.make_model())[1])
    _csv(tmp_path / "test.csv", columns)
    with pytest.raises(UserError, match=f"standard input, {told}"):
        predictor([(tmp_path / "test.csv").read_bytes()], 0)
    with pytest.raises(UserError, match=f"test.csv, {told}"):
        create_task(_csv_config(tmp_path), tmp_path / "other")


def _npz_config(folder, answer, splits, **fields):
    """A run of arrays, of each split those of one or of several files."""
    made = {}
    for split, parts in splits.items():
        names = [folder / f"{split}{number}.npz" for number in range(len(parts))]
        for name, arrays in zip(names, parts, strict=True):
            np.savez(name, **arrays)
        made[split] = ",".join(map(str, names))
    return files.config("npz", answer, made, **fields)


def _arrays(y=None, *, number=12, steps=5, features=2, **further):
    x = np.random.default_rng(0).normal(size=(number, steps, features))
    return {"x": x, "y": np.arange(number) % 2 if y is None else y, **further}


@pytest.mark.parametrize(
    ("train_parts", "test_parts", "told"),
    [
        (
            [{}, {"features": 3}],
            [{}],
            r"train1.npz, x\[\d+\]: has steps of 3 numbers, but those of .*train0.npz, x\[\d+\] are of 2",
        ),
        ([{}], [{"features": 1}], r"test0.npz, x\[0\]: 1 feature, but train has 2"),
        (
            [{}],
            [{}, {"features": 3}],
            r"test1.npz, x\[0\]: has steps of 3 numbers, but those of .*test0.npz, x\[0\] are of 2",
        ),
    ],
)
def test_features_are_as_many_in_every_example(tmp_path, train_parts, test_parts, told):
    splits = {"train": [_arrays(**each) for each in train_parts], "test": [_arrays(**each) for each in test_parts]}
    with pytest.raises(UserError, match=told) as error:
        create_task(_npz_config(tmp_path, "class", splits), tmp_path / "w")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train_widths", "test_widths", "told"),
    [
        ([2], [3], r"test0.npz, x\[0\]: 3 numbers in the answer, but train has 2"),
        ([2], [1], r"test0.npz, x\[0\]: 1 number in the answer, but train has 2"),
        ([1], [2], r"test0.npz, x\[0\]: 2 numbers in the answer, but train has 1"),
        ([2, 3], [2], r"train1.npz, x\[\d+\]: has answers of 3 numbers, but those of .*train0.npz, x\[\d+\] are of 2"),
        ([1, 2], [1], r"train1.npz, x\[\d+\]: has answers of 2 numbers, but those of .*train0.npz, x\[\d+\] are of 1"),
        ([0], [0], r"train0.npz, y: of sizes \(12, 0\); at least one number for each example is needed"),
    ],
)
def test_answers_have_as_many_numbers_in_every_example(tmp_path, train_widths, test_widths, told):
    splits = {
        split: [_arrays(np.ones((12, width))) for width in widths]
        for split, widths in (("train", train_widths), ("test", test_widths))
    }
    with pytest.raises(UserError, match=told):
        create_task(_npz_config(tmp_path, "numbers", splits), tmp_path / "w")


@pytest.mark.parametrize(
    ("train_widths", "test_widths", "told"),
    [
        ([2], [3], r"test0.npz, x\[0\]: 3 labels a step, but train has 2"),
        ([2, 3], [2], r"train1.npz, x\[\d+\]: has answers of 3 numbers, but those of .*train0.npz, x\[\d+\] are of 2"),
    ],
)
def test_answers_have_as_many_labels_in_every_example(tmp_path, train_widths, test_widths, told):
    splits = {
        split: [_arrays(np.ones((12, 5, width), int)) for width in widths]
        for split, widths in (("train", train_widths), ("test", test_widths))
    }
    with pytest.raises(UserError, match=told):
        create_task(_npz_config(tmp_path, "labels_per_step", splits), tmp_path / "w")


@pytest.mark.parametrize("standardise", [True, False])
def test_a_gap_at_the_start_has_the_mean_of_training_whether_numbers_are_standardised_or_not(tmp_path, standardise):
    train_arrays, test_arrays = _arrays(), _arrays()
    train_arrays["x"] += 7
    test_arrays["x"][3, :2, 1] = np.nan
    splits = {"train": [train_arrays], "validation": [train_arrays], "test": [test_arrays]}
    fields = {"data__missing": "fill", "data__standardise": standardise}
    create_task(_npz_config(tmp_path, "class", splits, **fields), tmp_path / "w")
    filled = open_task(tmp_path / "w").rows("test").inputs.row(3)
    mean = 0 if standardise else train_arrays["x"][..., 1].mean()
    np.testing.assert_allclose(filled[:2, 1], mean, rtol=1e-5, atol=1e-6)


def test_features_that_are_on_or_off_stay_so_where_some_are_missing(tmp_path):
    arrays = _arrays()
    arrays["x"] = (arrays["x"] > 1).astype(float)
    arrays["x"][2, 3, 0] = np.nan
    splits = {"train": [arrays], "validation": [arrays]}
    task = create_task(_npz_config(tmp_path, "class", splits, data__missing="fill"), tmp_path / "w")
    expected = arrays["x"].copy()
    expected[2, 3, 0] = expected[2, 2, 0]
    np.testing.assert_array_equal(task.rows("train").inputs.values, expected.reshape(-1, 2))


@pytest.mark.parametrize(("chunk", "found", "needed"), [(1, 8, 6), (2, 4, 3)])
def test_permuted_sequences_are_as_long_as_those_of_training_in_every_split_and_prediction(
    tmp_path, chunk, found, needed
):
    fields = {"data__permuted": 3, "data__chunk": chunk}
    told = rf"x\[0\]: a sequence of {found} steps; config.data.permuted needs {needed}, as in train"
    right, wrong = _arrays(steps=6), _arrays(steps=8)
    with pytest.raises(UserError, match=told):
        create_task(_npz_config(tmp_path, "class", {"train": [right], "test": [wrong]}, **fields), tmp_path / "w")
    create_task(_npz_config(tmp_path, "class", {"train": [right], "test": [right]}, **fields), tmp_path / "w")
    task = open_task(tmp_path / "w")
    np.savez(tmp_path / "new.npz", x=wrong["x"])
    with pytest.raises(UserError, match=f"standard input, {told}"):
        task.predictor(split_model(task.make_model())[1])([(tmp_path / "new.npz").read_bytes()], 0)


@pytest.mark.parametrize("split", ["validation", "test", "prediction"])
@pytest.mark.parametrize("timed", [True, False])
def test_every_split_and_prediction_have_times_where_training_has_them(tmp_path, timed, split):
    dt = {"dt": np.ones((12, 5))}
    own, other = _arrays(**(dt if timed else {})), _arrays(**({} if timed else dt))
    splits = {each: [own] for each in ("train", "validation", "test")} | {split: [other]}
    new = splits.pop("prediction", None)
    message = "no times of steps, but train has times" if timed else "times of steps, but train has none"
    config = _npz_config(tmp_path, "class", splits)
    if new is None:
        with pytest.raises(UserError, match=rf"{split}0.npz, x\[0\]: {message}"):
            create_task(config, tmp_path / "w")
        return
    task = create_task(config, tmp_path / "w")
    np.savez(tmp_path / "new.npz", **other)
    with pytest.raises(UserError, match=rf"standard input, x\[0\]: {message}"):
        task.predictor(split_model(task.make_model())[1])([(tmp_path / "new.npz").read_bytes()], 0)


def _logged(task, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    caplog.set_level(logging.INFO, "rnnlab")
    task.log_data()
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("cell", ["gru", "s5"])
def test_times_that_tell_nothing_are_left_out_with_a_remark(tmp_path, caplog, monkeypatch, cell):
    arrays = _arrays(dt=np.zeros((12, 5)))
    splits = {"train": [arrays], "validation": [arrays]}
    task = create_task(_npz_config(tmp_path, "class", splits, model__cell=cell), tmp_path / "w")
    batch = task.rows("train").assemble([0], (5,), 1)
    assert batch.dt is None
    assert batch.inputs.shape == (5, 1, 2)
    logged = _logged(task, caplog, monkeypatch)
    assert logged.count("train: no step is later than the one before it; times are ignored") == 1


@pytest.mark.parametrize("fields", [{}, {"data__test_every": 4}])
def test_a_remark_on_a_file_is_logged_once_however_many_splits_are_made_of_it(tmp_path, caplog, monkeypatch, fields):
    arrays = _arrays()
    arrays["x"][[1, 5], 2] = np.nan
    config = _npz_config(tmp_path, "class", {"train": [arrays]}, data__missing="fill", **fields)
    task = create_task(config, tmp_path / "w")
    assert "validation" in task.splits
    assert len([line for line in _logged(task, caplog, monkeypatch) if "missing values are filled" in line]) == 1
