import shutil
import subprocess
import sys

import pytest

from rnnlab.data.corpus import Corpus
from tests import tiny
from tests.data.words import NAME


def _read(folder):
    corpus = Corpus(NAME, prepared=str(folder))
    return {split: corpus.read(split) for split in corpus.splits}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small set, prepared, and its splits."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, _read(folder)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [_cut, _flip, lambda path: path.write_bytes(b""), lambda path: path.unlink()])
def test_prepared_files_that_are_cut_flipped_empty_or_gone_are_named_and_prepared_anew(
    prepared, tmp_path, caplog, harm
):
    folder, wanted = prepared
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert len(files) >= 5
    for file in files:
        copy = tmp_path / file.name
        shutil.copytree(folder, copy)
        harm(copy / file)
        caplog.clear()
        assert _read(copy) == wanted
        seal = file.name.startswith("rnnlab")  # without it all files are read once more, and are whole
        assert seal or file.name in caplog.text
        caplog.clear()
        assert _read(copy) == wanted
        assert not caplog.text


def test_files_of_another_hand_that_cannot_be_read_are_prepared_anew_and_kept(prepared, tmp_path):
    folder, wanted = prepared
    for name, harm in {"dataset_info.json": _cut, f"{NAME}-train.array_record-00000-of-00001": _cut}.items():
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        next(copy.rglob("rnnlab_checksums.json")).unlink()
        harm(next(copy.rglob(name)))
        harmed = next(copy.rglob(name)).read_bytes()
        assert _read(copy) == wanted
        (kept,) = copy.rglob("*.damaged1")
        assert (kept / name).read_bytes() == harmed


def test_examples_without_files_are_named_by_their_sources(prepared):
    corpus = Corpus(NAME, prepared=str(prepared[0]))
    sources = [example.source for example in corpus.read("train")[:2]]
    assert corpus.describe("train", [0, 1]) == "{!r}, {!r}".format(*sources)


# One import for three processes that all find nothing prepared, and one that is killed while it prepares.
_TOGETHER = """
import contextlib, os, signal, sys, time
from rnnlab.data import prepared
from rnnlab.data.corpus import Corpus
from tests.data.words import NAME, PAIRS, RnnlabWords

def slowly():
    time.sleep(0.3)
    return PAIRS
def killed():
    os.kill(os.getpid(), signal.SIGKILL)
def fork(read):
    child = os.fork()
    if not child:
        RnnlabWords.read = read
        status = 1
        try:
            status = not sum(len(Corpus(NAME, prepared=folder).read(s)) for s in ("train", "test")) > 200
        finally:
            os._exit(status)
    return child
def start_together():
    return [os.waitpid(child, 0)[1] for child in [fork(slowly) for _ in range(3)]]
folder = sys.argv[1] + "/locked"
assert os.waitpid(fork(killed), 0)[1] == signal.SIGKILL
ends = start_together()
folder = sys.argv[1] + "/without locks"
prepared.one_at_a_time = contextlib.nullcontext
print(ends, start_together())
"""


def test_processes_that_start_at_once_all_go_on_also_after_one_was_killed(tmp_path):
    command = [sys.executable, "-c", _TOGETHER, str(tmp_path)]
    found = subprocess.run(command, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert found.stdout.splitlines()[-1] == "[0, 0, 0] [0, 0, 0]", found.stderr
