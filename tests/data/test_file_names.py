"""Names of files: where they stand, and where a text of several is cut."""

import pytest
from ml_collections import ConfigDict

from rnnlab.data.file_names import list_names, resolve_files
from rnnlab.errors import UserError


@pytest.mark.parametrize(
    ("files", "there", "names"),
    [
        ("", (), []),
        ("a, b", (), ["a", "b"]),
        (["a, b", "c"], (), ["a, b", "c"]),
        ("a, b.txt", ("a, b.txt",), ["a, b.txt"]),
        ("a,b,c", ("a,b", "c"), ["a,b", "c"]),
        ("a,b,c,d,e", ("a,b", "c", "d,e"), ["a,b", "c", "d,e"]),
        ("a,b,c", ("a,b",), ["a", "b", "c"]),
    ],
)
def test_a_text_is_cut_where_it_names_files_that_are_there(tmp_path, files, there, names):
    for name in there:
        (tmp_path / name).touch()
    assert list_names(files, str(tmp_path)) == [str(tmp_path / name) for name in names]


def test_names_that_may_be_cut_in_two_ways_are_asked_for_as_a_list(tmp_path):
    for name in ("a", "b,c", "a,b", "c"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="'a,b,c': may be split in several ways; give a list"):
        list_names("a,b,c", str(tmp_path))


@pytest.mark.parametrize("files", ["a,", "a,,b", ["a", " "]])
def test_an_empty_name_is_refused(files):
    with pytest.raises(UserError, match="an empty name"):
        list_names(files)


def test_resolved_names_are_the_same_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"train": "a,/b", "validation": ["c,d", "e"], "test": ""}
    data = ConfigDict({"directory": "in", "files": files})
    resolve_files(data)
    there = {"train": f"{tmp_path}/in/a,/b", "validation": [f"{tmp_path}/in/c,d", f"{tmp_path}/in/e"], "test": ""}
    assert data.files.to_dict() == there
    monkeypatch.chdir("/")
    resolve_files(data)
    assert data.to_dict() == {"directory": f"{tmp_path}/in", "files": there}
