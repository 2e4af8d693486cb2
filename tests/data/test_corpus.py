import gzip
import hashlib
import json
import logging
import lzma
import socket

import pytest
from tensorflow_datasets.core.download import downloader

from rnnlab.data import patience
from rnnlab.data.corpus import SPLITS, Corpus, Example
from rnnlab.errors import UserError


def _files(folder, rows):
    for split, lines in rows.items():
        (folder / f"{split}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in rows}


def test_parallel_text_comes_back_in_order_and_a_changed_file_is_read_anew(tmp_path):
    rows = {"train": [(f"s{i}", f"t {i}") for i in range(50)], "validation": [("ä", "b")]}
    files = _files(tmp_path, rows)
    corpus = Corpus("parallel_text", files=files)
    assert corpus.read("train") == [Example(s, (t,)) for s, t in rows["train"]]
    assert corpus.read("validation") == [Example("ä", ("b",))]
    assert corpus.splits == ("train", "validation")
    with pytest.raises(UserError, match="split 'test': dataset 'parallel_text' has only train, validation"):
        corpus.read("test")
    files = _files(tmp_path, rows | {"validation": [("c", "d")]})
    assert Corpus("parallel_text", files=files).read("validation")[0].source == "c"


def test_a_split_is_read_without_the_others_and_its_lines_are_named_from_one(tmp_path):
    files = _files(tmp_path, {"validation": [(f"s{i}", "t") for i in range(12)]})
    corpus = Corpus("parallel_text", files=files | {"train": str(tmp_path / "gone.tsv")})
    assert len(corpus.read("validation")) == 12
    assert corpus.describe("validation", [0, 11]) == f"{tmp_path}/validation.tsv, lines 1, 12"
    assert corpus.describe("validation", range(12)).endswith("lines 1, 2, 3, 4, 5, 6, 7, 8 and 4 more")
    with pytest.raises(UserError, match=r"gone.tsv: cannot be read"):
        corpus.read("train")


def test_contents_are_the_same_whatever_holds_them_and_others_are_refused_by_name(tmp_path):
    rows = [(f"s{i}", f"t {i}") for i in range(50)]
    tsv = _files(tmp_path, {"train": rows})["train"]
    sides = []
    for number, name in enumerate(("a.gz", "b.xz")):
        pack = (gzip.compress, lzma.compress)[number]
        (tmp_path / name).write_bytes(pack("".join(f"{row[number]} \r\n" for row in rows).encode("utf-8-sig")))
        sides.append(str(tmp_path / name))
    known = Corpus("parallel_text", files={"train": tsv, "validation": tsv}).digest("train")
    assert Corpus("parallel_text", files={"train": sides, "validation": tsv}).digest("train") == known
    others = {
        "longer": [*rows[:-1], ("s49", "t 49 a b")],
        "more": [*rows, ("s", "t")],
        "fewer": rows[1:],
        "another order": rows[::-1],
        "another side": [(target, source) for source, target in rows],
        "cut elsewhere": [*rows[:-1], ("s49 t", "49")],
    }
    for changed in others.values():
        tsv = _files(tmp_path, {"train": changed})["train"]
        corpus = Corpus("parallel_text", files={"train": tsv, "validation": tsv}, expected={"train": known})
        with pytest.raises(UserError, match=r"train.tsv: the train split has changed"):
            corpus.read("train")


def test_a_digest_is_that_of_the_examples_as_json(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnlab.data.corpus._BLOCK", 3)
    for number in (1, 3, 7):
        rows = [(f'"s{i}', f"t é {i}") for i in range(number)]
        files = _files(tmp_path, {"train": rows, "validation": rows})
        wanted = hashlib.sha256(json.dumps([[source, [target]] for source, target in rows]).encode()).hexdigest()
        assert Corpus("parallel_text", files=files).digest("train") == wanted


def test_no_text_of_a_corpus_is_logged_or_printed(tmp_path, caplog, capfd):
    for logger in (logging.getLogger(), logging.getLogger("absl")):
        caplog.set_level(logging.DEBUG, logger=logger.name)
    rows = [("secret", "text")] * 100
    corpus = Corpus("parallel_text", prepared=str(tmp_path / "p"), files=_files(tmp_path, dict.fromkeys(SPLITS, rows)))
    for split in corpus.splits:
        corpus.read(split)
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


def test_without_files_for_validation_a_share_of_train_is_held_out_whatever_its_order(tmp_path):
    rows = [(f"s{i % 150}", f"t {i % 150}") for i in range(200)]  # a quarter stands there twice
    found = []
    for ordered in (rows, rows[::-1]):
        corpus = Corpus("parallel_text", files=_files(tmp_path, {"train": ordered}), validation_share=0.2)
        held = corpus.read("validation")
        assert corpus.splits == ("train", "validation")
        assert not set(held) & set(corpus.read("train"))
        assert len(held) + len(corpus.read("train")) == 200
        assert 20 <= len(held) <= 60
        number = len(held) // 2
        line = [Example(s, (t,)) for s, t in ordered].index(held[number]) + 1
        assert corpus.describe("validation", [held.index(held[number])]).endswith(f"train.tsv, lines {line}")
        found.append(set(held))
    assert found[0] == found[1]
    few = _files(tmp_path, {"train": rows[:2]})
    with pytest.raises(UserError, match=r"train.tsv: too few lines to hold out a share of 1e-09"):
        Corpus("parallel_text", files=few, validation_share=1e-9).read("validation")


def test_train_and_validation_are_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"config.data.files: train is missing, or validation"):
        Corpus("parallel_text", prepared=str(tmp_path), files={"train": "x,y", "validation": "", "test": ""})


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'cmudikt'; allowed: cmudict, parallel_text"):
        Corpus("cmudikt", prepared=str(tmp_path))


def test_a_set_out_of_reach_is_told(tmp_path, monkeypatch):
    """Here by a server that takes the connection and then says nothing: without a limit, this would never end."""
    monkeypatch.setattr(patience, "_PATIENCE", 0.5)
    silent = socket.create_server(("127.0.0.1", 0))
    address = silent.getsockname()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)])
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="'ted_hrlr_translate/pt_to_en' cannot be reached"):
        Corpus("ted_hrlr_translate/pt_to_en", prepared=str(tmp_path))
    silent.close()


def test_what_is_no_file_of_the_web_is_left_to_tfds(tmp_path, monkeypatch):
    left = []
    monkeypatch.setattr(downloader._Downloader, "_sync_download", lambda _, url, *more: left.append(url))
    for url in ("ftp://example.org/a", "https://drive.google.com/uc?id=1"):
        patience._Downloader()._sync_download(url, tmp_path)
    assert left == ["ftp://example.org/a", "https://drive.google.com/uc?id=1"]
