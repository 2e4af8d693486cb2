"""Published pairs under their own names: their files, on the web or in a local folder."""

import pathlib
from typing import NamedTuple

from rnnlab.data.file_names import Files
from rnnlab.errors import UserError

_GITHUB = "https://raw.githubusercontent.com"


class Home(NamedTuple):
    """The home of a dataset: a folder on the web, and the files of each split; {0} and {1} are the languages."""

    description: str
    url: str
    files: dict[str, tuple[str, ...]]
    languages: str  # an example

    def paths(self, split: str, languages: list[str]) -> list[str]:
        return [name.format(*languages) for name in self.files[split]]


HOMES = {
    "multi30k": Home(
        "Multi30K task 1, raw captions (Elliott et al. 2016, W16-3210); research use only",
        f"{_GITHUB}/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw",
        {
            "train": ("train.{0}.gz", "train.{1}.gz"),
            "validation": ("val.{0}.gz", "val.{1}.gz"),
            "test": ("test_2016_flickr.{0}.gz", "test_2016_flickr.{1}.gz"),
        },
        "de-en",
    ),
    "sigmorphon2020": Home(
        "SIGMORPHON 2020 task 1, words and their pronunciations (Gorman et al. 2020, 2020.sigmorphon-1.2)",
        f"{_GITHUB}/sigmorphon/2020/3d9bb3658b6a964ccd127e2a6781665262516bf6/task1/data",
        {
            "train": ("train/{0}_train.tsv",),
            "validation": ("dev/{0}_dev.tsv",),
            "test": ("test/{0}_test.tsv",),
        },
        "kor",
    ),
}


def published_files(name: str, language: str, directory: str) -> dict[str, Files]:
    """Returns the files of each split of one of `HOMES` in a folder, under their published names.

    Raises:
      UserError: an invalid language.
    """
    home, languages = find_published(name, language)
    folder = pathlib.Path(directory).expanduser()
    return {
        split: [str(folder / pathlib.PurePath(path).name) for path in home.paths(split, languages)]
        for split in home.files
    }


def find_published(name: str, language: str) -> tuple[Home, list[str]]:
    """Returns one of `HOMES`, and its languages.

    Raises:
      UserError: an invalid language.
    """
    home, languages = HOMES[name], language.split("-")
    if len(languages) != len(home.languages.split("-")) or not all(languages):
        raise UserError(f"data.language: {language!r} is not a language of {name!r}; write it like {home.languages!r}")
    return home, languages
