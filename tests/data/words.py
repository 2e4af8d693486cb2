"""A small TFDS set for tests: `rnnlab_words`, which TFDS knows once this module is imported."""

from collections.abc import Callable, Iterator
from typing import ClassVar

import tensorflow_datasets as tfds

NAME = "rnnlab_words"
PAIRS = {f"word{i}": f"W {i}" for i in range(300)}


class RnnlabWords(tfds.core.GeneratorBasedBuilder):
    """`{"source": word, "target": text}`, 50 of them in each of validation and test."""

    VERSION = tfds.core.Version("1.0.0")
    read: ClassVar[Callable[[], dict[str, str]]] = lambda: PAIRS  # what a test may change

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return self.dataset_info_from_configs(
            description="Words.",
            features=tfds.features.FeaturesDict({"source": text, "target": text}),
            supervised_keys=("source", "target"),
        )

    def _split_generators(self, dl_manager):
        pairs = list(type(self).read().items())
        parts = {"validation": pairs[:50], "test": pairs[50:100], "train": pairs[100:]}
        return {split: self._generate_examples(part) for split, part in parts.items()}

    def _generate_examples(self, pairs: list[tuple[str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
        for source, target in pairs:
            yield source, {"source": source, "target": target}
