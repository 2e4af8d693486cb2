import gzip
import logging
import os
import shutil

import pytest

from rnnlab.data.parallel_text import ParallelText
from rnnlab.data.vocabulary import Vocabulary
from rnnlab.errors import UserError
from rnnlab.tasks.seq2seq.data import log_vocabularies, open_corpus, refuse_long, without_long
from rnnlab.tasks.seq2seq.task import Seq2SeqTask
from rnnlab.training.report import best_params
from rnnlab.training.workdir import create_task, open_task
from tests import tiny


def test_what_was_made_is_opened_alike(tiny_config, tmp_path):
    made = create_task(tiny_config(), tmp_path / "w")
    opened = open_task(tmp_path / "w")
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
        ("evaluation__metrics", "per,blue", "unknown 'blue'; allowed: wer, per, cer, bleu, chrf"),
        ("data__source__unit", "char", "config.data.source.unit: unknown value 'char'"),
        ("data__files__test", "nowhere.tsv", "nowhere.tsv: cannot be read"),
        ("training__steps", 0, "training.steps: 0 is not allowed"),
    ],
)
def test_a_config_that_no_run_can_use_is_refused_before_anything_is_written(
    tiny_config, tmp_path, field, value, message
):
    with pytest.raises(UserError, match=message):
        create_task(tiny_config(**{field: value}), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_run_cannot_become_another_one(tiny_config, tmp_path):
    create_task(tiny_config(), tmp_path)
    saved = (tmp_path / "config.json").read_text()
    for field in ("model__encoder__features", "seed", "data__buckets"):
        with pytest.raises(
            UserError, match=rf"config\.{field.replace('__', '.')}: .* was made with .*another --workdir"
        ):
            create_task(tiny_config(**{field: 7}), tmp_path)
    with pytest.raises(UserError, match=r"config\.training\.optimizer: .*'adam', not 'sgd'"):
        create_task(tiny_config(training__optimizer="sgd"), tmp_path)
    assert (tmp_path / "config.json").read_text() == saved
    again = create_task(tiny_config(training__steps=99), tmp_path)
    assert again.config.training.steps == open_task(tmp_path).config.training.steps == 99


@pytest.fixture
def own_data(tiny_data, tmp_path):
    """A folder with a copy of the data of `tiny_config`."""
    folder = tmp_path / "own"
    folder.mkdir()
    for split in tiny.SPLITS:
        shutil.copy(tiny_data / f"{split}.tsv", folder)
    return folder


def _longer(text):
    return text.replace("\n", "\n" + "abcdefg" * 9 + "\t" + "A " * 60 + "\n", 1)


CHANGES = {
    "a longer line": _longer,
    "unknown tokens": lambda text: "".join(f"xyz\tX Y Z{end}" for end in "\n" * text.count("\n")),
    "one letter": lambda text: text.replace("A", "B", 1),
    "a line less": lambda text: text.partition("\n")[2],
    "another order": lambda text: "".join(sorted(text.splitlines(keepends=True))),
}


@pytest.mark.parametrize("split", tiny.SPLITS)
def test_a_run_with_other_data_is_refused_in_a_line_and_nothing_is_written(own_data, tmp_path, split):
    workdir = tmp_path / "w"
    create_task(tiny.get_config(str(own_data)), workdir)
    left = {path.name: path.read_bytes() for path in workdir.iterdir()}
    path = own_data / f"{split}.tsv"
    text = path.read_text()
    for change in CHANGES.values():
        path.write_text(change(text))
        with pytest.raises(UserError, match=rf"{split}.tsv: the {split} split has changed .*another --workdir"):
            create_task(tiny.get_config(str(own_data)), workdir)
        with pytest.raises(UserError, match=rf"{split}.tsv: the {split} split has changed"):
            open_corpus((opened := open_task(workdir)).config, opened.digests).read(split)
    assert {path.name: path.read_bytes() for path in workdir.iterdir()} == left
    path.write_text(text)
    create_task(tiny.get_config(str(own_data)), workdir)


def test_a_changed_file_is_noticed_whatever_its_size_and_time_say(own_data, tmp_path):
    create_task(tiny.get_config(str(own_data)), tmp_path / "w")
    path = own_data / "train.tsv"
    before = path.stat()
    path.write_text(path.read_text().replace("A", "B", 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(UserError, match=r"train.tsv: the train split has changed"):
        create_task(tiny.get_config(str(own_data)), tmp_path / "w")


def _first_batches(task):
    batches = task.batches(seed=0, process=0, processes=1)
    return [[part.tolist() for part in next(batches)] for _ in range(5)]


def test_what_one_run_has_encoded_no_other_reads_as_text_or_encodes(own_data, tmp_path, monkeypatch):
    config = tiny.get_config(str(own_data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "gone"))
    wanted = _first_batches(create_task(config, tmp_path / "first"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    create_task(config, tmp_path / "w")
    read = []
    iterate = ParallelText.__iter__
    monkeypatch.setattr(ParallelText, "__iter__", lambda pairs: read.append(pairs.names) or iterate(pairs))
    monkeypatch.setattr(Vocabulary, "build_and_encode", None)
    for workdir in (tmp_path / "w", tmp_path / "another"):
        assert _first_batches(create_task(config, workdir)) == wanted
    assert read == [[str(own_data / f"{split}.tsv")] for split in ("validation", "test")] * 2
    monkeypatch.setattr("rnnlab.data.encoded.versions", lambda: ["regex 9999"])
    assert _first_batches(create_task(config, tmp_path / "w")) == wanted
    assert [str(own_data / "train.tsv")] in read


def test_data_are_encoded_once_in_a_run_that_cannot_write_to_the_cache(own_data, tmp_path, monkeypatch):
    config = tiny.get_config(str(own_data))
    wanted = _first_batches(create_task(config, tmp_path / "first"))
    (tmp_path / "cache").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    encode, texts = Vocabulary.encode, []
    monkeypatch.setattr(Vocabulary, "encode", lambda vocabulary, text: texts.append(text) or encode(vocabulary, text))
    made = create_task(config, tmp_path / "w")
    assert len(texts) == 2 * (tiny.SPLITS["validation"] + tiny.SPLITS["test"])
    assert _first_batches(made) == wanted
    assert _first_batches(create_task(config, tmp_path / "w")) == wanted


def test_a_run_resumes_with_the_same_data_under_any_name_and_is_used_from_any_folder(own_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = create_task(tiny.get_config("own"), tmp_path / "w")
    monkeypatch.chdir("/")
    assert len(open_corpus(open_task(tmp_path / "w").config, made.digests).read("validation")) == 40
    (tmp_path / "other").mkdir()
    for split in tiny.SPLITS:
        content = (own_data / f"{split}.tsv").read_text().replace("\n", "\r\n").encode("utf-8-sig")
        (tmp_path / "other" / f"{split} , packed.tsv").write_bytes(gzip.compress(content))
    shutil.rmtree(own_data)
    monkeypatch.chdir(tmp_path / "other")
    config = tiny.get_config("nowhere")
    config.data.files.update({split: f"{split} , packed.tsv" for split in tiny.SPLITS})
    again = create_task(config, tmp_path / "w")
    assert again.digests == made.digests
    monkeypatch.chdir("/")
    assert open_corpus(open_task(tmp_path / "w").config).read("train") == again.corpus.read("train")


def test_a_split_is_evaluated_without_the_files_of_the_others_and_one_may_come_later(own_data, tmp_path):
    config = tiny.get_config(str(own_data))
    config.data.files.test = ""
    create_task(config, tmp_path / "w")
    (own_data / "train.tsv").unlink()
    opened = open_task(tmp_path / "w")
    assert len(opened.corpus.read("validation")) == 40
    opened = open_task(tmp_path / "w", tiny.get_config(str(own_data)))
    assert len(opened.corpus.read("test")) == 50
    tiny.write_data(own_data)
    again = create_task(tiny.get_config(str(own_data)), tmp_path / "w")
    assert set(open_task(tmp_path / "w").digests) == set(again.digests) == set(tiny.SPLITS)
    config.data.files.test = ""
    with pytest.raises(UserError, match="was made with a test split"):
        create_task(config, tmp_path / "w")


@pytest.mark.parametrize("kind", [list, tuple])
def test_the_files_of_a_split_may_be_a_list_of_names(tiny_config, tmp_path, kind):
    rows = [("ab", "A B"), ("ba", "B A")]
    names = [tmp_path / "from, the left", tmp_path / "to, the right"]
    for path, side in zip(names, zip(*rows, strict=True), strict=True):
        path.write_text("\n".join(side))
    files = kind(map(str, names))
    config = tiny_config(data__files__train=files, data__files__validation=files, data__files__test="")
    corpus = create_task(config, tmp_path / "w").corpus
    assert [(example.source, *example.targets) for example in corpus.read("train")] == rows
    again = open_task(tmp_path / "w")
    assert again.corpus.read("validation") == corpus.read("train")


@pytest.mark.parametrize(("field", "level"), [("min_count", "WARNING"), ("lowercase", "INFO")])
def test_the_size_of_a_vocabulary_and_the_share_of_unknown_tokens_are_logged(
    tiny_config, tmp_path, caplog, monkeypatch, field, level
):
    """A warning where nothing but the unknown token is left."""
    monkeypatch.setattr(logging.getLogger("rnnlab"), "propagate", True)
    config = tiny_config(**{f"data__source__{field}": {"min_count": 1000, "lowercase": True}[field]})
    experiment = create_task(config, tmp_path)
    corpus = experiment.corpus
    splits = {split: experiment.encode(corpus.read(split)) for split in ("train", "validation")}
    with caplog.at_level(logging.INFO, logger="rnnlab"):
        log_vocabularies(experiment, splits)
    source, target = caplog.records
    told = "0 tokens; unknown: 100.00%" if level == "WARNING" else "7 tokens; unknown: 0.00%"
    assert f"source vocabulary: {told} of train, {told.rpartition(' ')[2]} of validation" in source.getMessage()
    assert source.levelname == level
    assert "target vocabulary: 7 tokens; unknown: 0.00% of train, 0.00% of validation" in target.getMessage()
    assert target.levelname == "INFO"


def test_in_use_the_files_and_the_search_may_change_but_not_the_model(tiny_config, tmp_path):
    create_task(tiny_config(), tmp_path)
    other = open_task(tmp_path, tiny_config(data__files__test="other.tsv", evaluation__beam_size=7))
    assert other.config.evaluation.beam_size == 7
    with pytest.raises(UserError, match=r"model\.decoder\.cell: .*'lstm', not 'gru'"):
        open_task(tmp_path, tiny_config(model__decoder__cell="gru"))


def test_a_folder_that_is_no_work_directory_or_is_damaged_is_named(tiny_config, tmp_path):
    with pytest.raises(UserError, match="not a work directory"):
        open_task(tmp_path)
    experiment = create_task(tiny_config(), tmp_path / "w")
    with pytest.raises(UserError, match="no intact checkpoint in its folder best; train it first"):
        best_params(experiment)
    for name, text in {
        "data.json": '{"train": ',
        "lengths.json": '{"source": 3}',
        "buckets.json": "[[1]]",
        "config.json": '{"seed": 0, "sead": 1}',
    }.items():
        whole = (tmp_path / "w" / name).read_text()
        (tmp_path / "w" / name).write_text(text)
        with pytest.raises(UserError, match=rf"w.*{name}.* is damaged"):
            open_task(tmp_path / "w")
        (tmp_path / "w" / name).write_text(whole)


def test_texts_that_are_too_long_are_left_out_of_training_and_refused_elsewhere(tiny_config, tmp_path):
    config = tiny_config(data__longest=7)  # g is two phones, so some words are longer
    with pytest.raises(UserError, match=r"data\.longest: a target of the validation split has .* more than 7"):
        create_task(config, tmp_path / "w")
    assert not (tmp_path / "w").exists()
    experiment = Seq2SeqTask.create(config, tmp_path)
    corpus = experiment.corpus
    examples = corpus.read("train")
    lengths = [max(len(e.source), len(e.targets[0].split(" "))) for e in examples]
    pairs = experiment.training_pairs
    assert len(pairs) == sum(length <= 7 for length in lengths) < len(examples)
    assert max(pairs.targets.lengths) == 7
    kept = [e for e, length in zip(examples, lengths, strict=True) if length <= 7]
    assert [examples[number] for number in pairs.examples] == kept
    assert [pairs.targets.row(i) for i in range(len(kept))] == [experiment.target.encode(e.targets[0]) for e in kept]
    with pytest.raises(UserError, match=r"data\.longest: a target of the test split has .* more than 7"):
        refuse_long(experiment.encode(corpus.read("test")), 7, "test")
    long = [example for example in examples if len(example.source) > 1]
    with pytest.raises(UserError, match="every training pair has more than 1 tokens"):
        without_long(experiment.encode(long), 1)
