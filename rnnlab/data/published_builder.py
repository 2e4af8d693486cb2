"""The builder of published pairs: downloads them from their public home and verifies them against `checksums.tsv`, in
TFDS's format, beside this file."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from rnnlab.data.parallel_text import ParallelText
from rnnlab.data.published import Home, find_published
from rnnlab.errors import UserError


def open_published(name: str, language: str, **options: Any) -> tfds.core.DatasetBuilder:
    """Makes the builder that downloads one of `HOMES`; its examples are in the order of the files.

    Args:
      name: of the dataset.
      language: "kor", or for a translation dataset the source's and the target's, "de-en".
      options: of a TFDS builder.

    Raises:
      UserError: an invalid language or one without files, or as `ParallelText`.
    """
    home, languages = find_published(name, language)
    known = _Published.url_infos or {}
    for split in home.files:
        if missing := [path for path in home.paths(split, languages) if f"{home.url}/{path}" not in known]:
            raise UserError(f"data.language: {name!r} has no file {missing[0]} for {language!r} at {home.url}")
    return _Published(config=_PublishedConfig(name=f"{name}_{language}", home=home, languages=languages), **options)


@dataclasses.dataclass(eq=False)
class _PublishedConfig(tfds.core.BuilderConfig):
    home: Home | None = None
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
        for number, (source, target) in enumerate(ParallelText(paths)):
            yield number, {"source": source, "targets": [target]}
