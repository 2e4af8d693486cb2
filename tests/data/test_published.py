import functools
import gzip
import hashlib
import http.server
import threading

import pytest
import tensorflow_datasets as tfds

from rnnlab.data import published, published_builder
from rnnlab.data.corpus import Corpus, Example
from rnnlab.errors import UserError

ROWS = {"train": "a b\tA B\nc\tC\n", "dev": "d\tD\n", "test": "e\tE\n"}


def _words(folder):
    for split, text in ROWS.items():
        (folder / split).mkdir()
        (folder / split / f"xyz_{split}.tsv").write_text(text)


def test_a_folder_with_the_published_names_is_read_and_a_space_stays_a_letter(tmp_path):
    for split, text in ROWS.items():
        (tmp_path / f"xyz_{split}.tsv").write_text(text)
    options = {"prepared": str(tmp_path / "tfds"), "language": "xyz", "directory": str(tmp_path)}
    corpus = Corpus("sigmorphon2020", **options)
    assert sorted(corpus.read("train")) == [Example("a b", ("A B",)), Example("c", ("C",))]
    assert corpus.splits == ("train", "validation", "test")


def test_two_languages_are_the_two_sides(tmp_path):
    for split in ("train", "val", "test_2016_flickr"):
        (tmp_path / f"{split}.de.gz").write_bytes(gzip.compress(b"ein Hund\n"))
        (tmp_path / f"{split}.en.gz").write_bytes(gzip.compress(b"a dog\n"))
    for language, pair in {"de-en": ("ein Hund", "a dog"), "en-de": ("a dog", "ein Hund")}.items():
        options = {"prepared": str(tmp_path / "tfds"), "language": language, "directory": str(tmp_path)}
        assert Corpus("multi30k", **options).read("test") == [Example(pair[0], (pair[1],))]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Serves the files of `_words` on this machine, as sigmorphon2020's public home."""
    (tmp_path / "home").mkdir()
    _words(tmp_path / "home")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "home")
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setitem(published.HOMES, "sigmorphon2020", published.HOMES["sigmorphon2020"]._replace(url=url))
    sums = {}
    for split, text in ROWS.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        info = tfds.download.checksums.UrlInfo(checksum=digest, size=len(text), filename=f"{split}.tsv")
        sums[f"{url}/{split}/xyz_{split}.tsv"] = info
    monkeypatch.setattr(published_builder._Published, "url_infos", sums)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield tmp_path / "home"
    server.shutdown()
    server.server_close()


def test_without_a_folder_the_files_are_downloaded_once_and_checked(home, tmp_path):
    options = {"prepared": str(tmp_path / "tfds"), "language": "xyz"}
    assert Corpus("sigmorphon2020", **options).read("validation") == [Example("d", ("D",))]
    (home / "dev" / "xyz_dev.tsv").write_text("gone")
    assert Corpus("sigmorphon2020", **options).read("validation") == [Example("d", ("D",))]


def test_a_download_that_is_not_what_was_published_is_refused(home, tmp_path):
    (home / "dev" / "xyz_dev.tsv").write_text("x\tX\n")
    with pytest.raises(UserError, match=r"sigmorphon2020.*checksum"):
        Corpus("sigmorphon2020", prepared=str(tmp_path / "tfds"), language="xyz")


def test_every_published_file_has_a_checksum():
    known = published_builder._Published.url_infos
    for name, language in {"multi30k": "de-en", "sigmorphon2020": "kor"}.items():
        home = published.HOMES[name]
        for split in home.files:
            for path in home.paths(split, language.split("-")):
                assert len(known[f"{home.url}/{path}"].checksum) == 64


def test_languages_without_files_or_of_another_form_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"'sigmorphon2020' has no file train/eng_train.tsv for 'eng'"):
        Corpus("sigmorphon2020", prepared=str(tmp_path), language="eng")
    with pytest.raises(
        UserError, match=r"data.language: 'kor-eng' is not a language of 'sigmorphon2020'; write it like 'kor'"
    ):
        Corpus("sigmorphon2020", prepared=str(tmp_path), language="kor-eng")
    with pytest.raises(UserError, match=r"data.language: '' is not a language of 'multi30k'; write it like 'de-en'"):
        Corpus("multi30k", prepared=str(tmp_path))
