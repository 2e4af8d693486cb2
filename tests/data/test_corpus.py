import socket

import pytest

from rnnlab.data.corpus import Corpus, Example
from rnnlab.errors import UserError


def _files(folder, rows):
    for split, lines in rows.items():
        (folder / f"{split}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in lines), encoding="utf-8")
    return {split: str(folder / f"{split}.tsv") for split in rows}


def test_parallel_text_comes_back_in_order_and_a_changed_file_is_read_anew(tmp_path):
    rows = {"train": [(f"s{i}", f"t {i}") for i in range(50)], "validation": [("ä", "b")]}
    files = _files(tmp_path, rows)
    corpus = Corpus("parallel_text", prepared=str(tmp_path / "tfds"), files=files)
    assert sorted(corpus.read("train")) == sorted(Example(s, (t,)) for s, t in rows["train"])
    assert corpus.read("validation") == [Example("ä", ("b",))]
    assert corpus.splits == ("train", "validation")
    with pytest.raises(UserError, match="split 'test': dataset 'parallel_text' has train, validation only"):
        corpus.read("test")
    files = _files(tmp_path, rows | {"validation": [("c", "d")]})
    assert Corpus("parallel_text", prepared=str(tmp_path / "tfds"), files=files).read("validation")[0].source == "c"


def test_train_and_validation_are_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"data.files: .*train and validation"):
        Corpus("parallel_text", prepared=str(tmp_path), files={"train": "x,y", "validation": "", "test": ""})


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'cmudikt'; allowed: cmudict, parallel_text"):
        Corpus("cmudikt", prepared=str(tmp_path))


def test_a_set_out_of_reach_is_told(tmp_path, monkeypatch):
    """Here by a server that takes the connection and then says nothing: without a limit, this would never end."""
    silent = socket.create_server(("127.0.0.1", 0))
    address = silent.getsockname()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)])
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="'ted_hrlr_translate/pt_to_en' cannot be reached"):
        Corpus("ted_hrlr_translate/pt_to_en", prepared=str(tmp_path))
    silent.close()
