"""A small TFDS set of texts for tests: `rnnlab_rows_of_text`, which TFDS knows once this module is imported."""

import tensorflow_datasets as tfds

NAME = "rnnlab_rows_of_text"
ROWS = {"train": ["one row", "two\nlines\n", "größer"], "test": ["the last"]}


class RnnlabRowsOfText(tfds.core.GeneratorBasedBuilder):
    """`{"text": text}`, in training and test."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return self.dataset_info_from_configs(description="Texts.", features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(rows) for split, rows in ROWS.items()}

    def _generate_examples(self, rows):
        for number, text in enumerate(rows):
            yield number, {"text": text}
