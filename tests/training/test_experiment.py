import dataclasses

import pytest

from rnnlab.errors import UserError
from rnnlab.training.experiment import create_experiment, open_experiment


def test_what_was_made_is_opened_alike(tiny_config, tmp_path):
    made, _ = create_experiment(tiny_config(), tmp_path / "w")
    opened = open_experiment(tmp_path / "w")
    assert opened.sizes == made.sizes
    assert opened.source.tokens == made.source.tokens == ["<pad>", "<s>", "</s>", "<unk>", *"abcdefg"]
    assert opened.config.to_dict()["model"] == made.config.to_dict()["model"]
    assert len(opened.sizes) <= 2


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model__encoder__cell", "lstm/heads7", "cell 'lstm/heads7': .* units cannot be shared by 7 heads evenly"),
        ("model__encoder__cell", "lstmm", "cell: unknown value 'lstmm'; allowed: .*gru.*lstm"),
        ("model__attention", "luong", "attention: unknown value 'luong'; allowed: none, dot"),
        ("model__attention", "dot", "'dot' needs .* 24 and 32"),
        ("training__optimizer", "adm", "optimizer: unknown 'adm'; allowed: adam"),
        ("training__best_metric", "werr", r"unknown 'werr' \(did you mean 'wer'\?\); allowed: loss"),
        ("evaluation__metrics", "per,blue", "unknown 'blue'; allowed: wer, per, bleu, chrf"),
        ("data__source__unit", "char", "config.data.source.unit: unknown value 'char'"),
        ("data__files__test", "nowhere.tsv", "nowhere.tsv: cannot be read"),
        ("training__steps", 0, "training.steps: 0 is not allowed"),
    ],
)
def test_a_config_that_no_run_can_use_is_refused_before_anything_is_written(
    tiny_config, tmp_path, field, value, message
):
    with pytest.raises(UserError, match=message):
        create_experiment(tiny_config(**{field: value}), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_run_cannot_become_another_one(tiny_config, tmp_path):
    create_experiment(tiny_config(), tmp_path)
    saved = (tmp_path / "config.json").read_text()
    for field in ("model__encoder__features", "seed", "data__buckets"):
        with pytest.raises(
            UserError, match=rf"config\.{field.replace('__', '.')}: .* was made with .*another --workdir"
        ):
            create_experiment(tiny_config(**{field: 7}), tmp_path)
    with pytest.raises(UserError, match=r"config\.training\.optimizer: .*'adam', not 'sgd'"):
        create_experiment(tiny_config(training__optimizer="sgd"), tmp_path)
    assert (tmp_path / "config.json").read_text() == saved
    again, _ = create_experiment(tiny_config(training__steps=99), tmp_path)
    assert again.config.training.steps == open_experiment(tmp_path).config.training.steps == 99


def test_in_use_the_files_and_the_search_may_change_but_not_the_model(tiny_config, tmp_path):
    create_experiment(tiny_config(), tmp_path)
    other = open_experiment(tmp_path, tiny_config(data__files__test="other.tsv", evaluation__beam_size=7))
    assert other.config.evaluation.beam_size == 7
    with pytest.raises(UserError, match=r"model\.decoder\.cell: .*'lstm', not 'gru'"):
        open_experiment(tmp_path, tiny_config(model__decoder__cell="gru"))


def test_a_folder_that_is_no_work_directory_or_is_damaged_is_named(tiny_config, tmp_path):
    with pytest.raises(UserError, match="not a work directory"):
        open_experiment(tmp_path)
    experiment, _ = create_experiment(tiny_config(), tmp_path / "w")
    with pytest.raises(UserError, match="no whole checkpoint in its folder best; train it first"):
        experiment.best_params()
    (tmp_path / "w" / "config.json").write_text('{"seed": 0, "sead": 1}')
    with pytest.raises(UserError, match=r"config.json or buckets.json is damaged"):
        open_experiment(tmp_path / "w")


def test_texts_that_are_too_long_are_left_out_of_training_and_refused_elsewhere(tiny_config, tmp_path):
    config = tiny_config(data__longest=7)  # g is two phones, so some words are longer
    experiment, corpus = create_experiment(config, tmp_path)
    examples = corpus.read("train")
    lengths = [max(len(e.source), len(e.targets[0].split(" "))) for e in examples]
    pairs = experiment.training_pairs(examples)
    assert len(pairs) == sum(length <= 7 for length in lengths) < len(examples)
    assert max(pairs.targets.lengths) == 7
    kept = [e for e, length in zip(examples, lengths, strict=True) if length <= 7]
    assert [pairs.targets.row(i) for i in range(len(kept))] == [experiment.target.encode(e.targets[0]) for e in kept]
    with pytest.raises(UserError, match=r"data\.longest: a target of the test split has .* more than 7"):
        experiment.check_lengths(corpus.read("test"), "test")
    config.data.longest = 1
    long = [example for example in examples if len(example.source) > 1]
    with pytest.raises(UserError, match="every training pair has more than 1 tokens"):
        dataclasses.replace(experiment, config=config).training_pairs(long)
