"""Published pairs under their own names, read from a folder that holds their files, or downloaded from their public
home and checked against `checksums.tsv`, in TFDS's format, beside this file."""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from rnnlab.data.parallel_text import Files, read_pairs
from rnnlab.errors import UserError

_GITHUB = "https://raw.githubusercontent.com"


class _Home(NamedTuple):
    """Where a set lives: a folder on the web, and the files of each split; {0} and {1} stand for the languages."""

    description: str
    url: str
    files: dict[str, tuple[str, ...]]
    languages: str  # an example

    def paths(self, split: str, languages: list[str]) -> list[str]:
        return [name.format(*languages) for name in self.files[split]]


HOMES = {
    "multi30k": _Home(
        "Multi30K task 1, raw captions (Elliott et al. 2016, W16-3210); research use only",
        f"{_GITHUB}/multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw",
        {
            "train": ("train.{0}.gz", "train.{1}.gz"),
            "validation": ("val.{0}.gz", "val.{1}.gz"),
            "test": ("test_2016_flickr.{0}.gz", "test_2016_flickr.{1}.gz"),
        },
        "de-en",
    ),
    "sigmorphon2020": _Home(
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
    """The files of each split of one of `HOMES` in a folder that holds them under their published names.

    Raises:
      UserError: a language of another form.
    """
    home, languages = _find(name, language)
    folder = pathlib.Path(directory).expanduser()
    return {
        split: [str(folder / pathlib.PurePath(path).name) for path in home.paths(split, languages)]
        for split in home.files
    }


def open_published(name: str, language: str, **options: Any) -> tfds.core.DatasetBuilder:
    """The builder that downloads one of `HOMES`; its examples are in the order of the files.

    Args:
      name: of the set.
      language: "kor", or for a translation set the source's and the target's, "de-en".
      options: of a TFDS builder.

    Raises:
      UserError: a language of another form or without files, or what `read_pairs` refuses.
    """
    home, languages = _find(name, language)
    known = _Published.url_infos or {}
    for split in home.files:
        if missing := [path for path in home.paths(split, languages) if f"{home.url}/{path}" not in known]:
            raise UserError(f"data.language: {name!r} has no file {missing[0]} for {language!r} at {home.url}")
    return _Published(config=_PublishedConfig(name=f"{name}_{language}", home=home, languages=languages), **options)


def _find(name: str, language: str) -> tuple[_Home, list[str]]:
    home, languages = HOMES[name], language.split("-")
    if len(languages) != len(home.languages.split("-")) or not all(languages):
        raise UserError(f"data.language: {language!r} is none of {name!r}; give it like {home.languages!r}")
    return home, languages


@dataclasses.dataclass(eq=False)
class _PublishedConfig(tfds.core.BuilderConfig):
    home: _Home | None = None
    languages: list[str] = dataclasses.field(default_factory=list)


class _Published(tfds.core.GeneratorBasedBuilder):
    """Downloaded pairs: `{"source": text, "targets": [text]}`."""

    name = "rnnlab_published"
    VERSION = tfds.core.Version("1.1.0")  # 1.0.0 was in another order

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return self.dataset_info_from_configs(
            description=self.builder_config.home.description,
            features=tfds.features.FeaturesDict({"source": text, "targets": tfds.features.Sequence(text)}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        home, languages = self.builder_config.home, self.builder_config.languages
        urls = {split: [f"{home.url}/{path}" for path in home.paths(split, languages)] for split in home.files}
        return {split: self._generate_examples(paths) for split, paths in dl_manager.download(urls).items()}

    def _generate_examples(self, paths: list) -> Iterator[tuple[int, dict]]:
        for number, (source, target) in enumerate(read_pairs(paths)):
            yield number, {"source": source, "targets": [target]}
