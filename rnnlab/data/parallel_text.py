"""Line-aligned texts as a TFDS builder: two files, plain or .gz, or one TSV with two columns."""

import dataclasses
import gzip
import hashlib
import pathlib
import zlib
from collections.abc import Iterator, Mapping

import tensorflow_datasets as tfds

from rnnlab.errors import UserError

Pair = tuple[str, str]
_GZIP = b"\x1f\x8b"  # how such a file starts, whatever its name


def read_lines(path: str) -> list[str]:
    """The lines of a UTF-8 file, plain or .gz, without the white space at their ends.

    Raises:
      UserError: no such file, not gzip, not UTF-8 (with the line), or empty.
    """
    try:
        raw = pathlib.Path(path).expanduser().read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(_GZIP) or path.endswith(".gz") else raw
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if not raw.strip():
        raise UserError(f"{path}: the file is empty; at least one line of text is needed")
    lines = []
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), start=1):
        try:
            lines.append(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
        except UnicodeDecodeError as error:
            raise UserError(f"{path}, line {number}: not UTF-8 (byte {error.start}: {error.reason})") from None
    return lines


def read_pairs(files: str) -> list[Pair]:
    """Source and target of each line; `files` is "source,target" or one "pairs.tsv".

    Raises:
      UserError: as `read_lines`; unequal line counts; a TSV line without exactly two columns; an empty side.
    """
    paths = files.split(",")
    if len(paths) == 2:
        source, target = (read_lines(path) for path in paths)
        if len(source) != len(target):
            raise UserError(
                f"{paths[0]} has {len(source)} lines and {paths[1]} has {len(target)}; "
                "line i of one must translate line i of the other"
            )
        pairs, where = list(zip(source, target, strict=True)), " / ".join(paths)
    elif len(paths) == 1 and paths[0]:
        pairs, where = [_columns(paths[0], n, line) for n, line in enumerate(read_lines(paths[0]), 1)], paths[0]
    else:
        raise UserError(f"files {files!r}: give two files as 'source,target' or one TSV")
    for number, pair in enumerate(pairs, start=1):
        if not all(pair):
            raise UserError(f"{where}, line {number}: one side is empty; remove the line from both")
    return pairs


def pair_features() -> tfds.features.FeaturesDict:
    """Those of a pair: `{"source": text, "targets": [text]}`."""
    text = tfds.features.Text()
    return tfds.features.FeaturesDict({"source": text, "targets": tfds.features.Sequence(text)})


def pair_examples(pairs: list[Pair]) -> Iterator[tuple[int, dict]]:
    """Numbered examples with `pair_features`."""
    for number, (source, target) in enumerate(pairs):
        yield number, {"source": source, "targets": [target]}


def _columns(path: str, number: int, line: str) -> Pair:
    columns = line.split("\t")
    if len(columns) != 2:
        raise UserError(f"{path}, line {number}: {len(columns)} columns; a source, one TAB and a target are needed")
    return columns[0].strip(), columns[1].strip()


@dataclasses.dataclass(eq=False)
class ParallelTextConfig(tfds.core.BuilderConfig):
    """The pairs of each split, already read and checked."""

    pairs: Mapping[str, list[Pair]] = dataclasses.field(default_factory=dict)


class ParallelText(tfds.core.GeneratorBasedBuilder):
    """Aligned lines: `{"source": line, "targets": [line]}`."""

    VERSION = tfds.core.Version("1.0.0")

    @classmethod
    def of_files(cls, files: Mapping[str, str], **options) -> "ParallelText":
        """The builder for `{split: files}`, named after a hash of the contents, so that a changed file is read anew."""
        pairs = {split: read_pairs(names) for split, names in files.items()}
        digest = hashlib.sha256(repr(sorted(pairs.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        config = ParallelTextConfig(name=digest, description="line-aligned text", pairs=pairs)
        return cls(config=config, **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Line-aligned source and target text.", features=pair_features()
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(pairs) for split, pairs in self.builder_config.pairs.items()}

    def _generate_examples(self, pairs: list[Pair]) -> Iterator[tuple[int, dict]]:
        yield from pair_examples(pairs)
