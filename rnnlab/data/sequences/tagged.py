"""Words with tags in CoNLL columns: a word per line, first in it, its tag last, TABs or blanks between; a blank line
between sentences; lines that start with -DOCSTART- are skipped.

Tags mark entities by one of three schemes, and are read as IOB2, whatever the file has: IOB (Ramshaw and Marcus 1995),
with B- only if an entity follows another of its kind; IOB2, where every entity starts with B-; BIOES, where it ends
with E- and a single-word entity is S-. An empty `data.tag_scheme` detects the scheme of a file; "any" does not convert
tags, such as parts of speech.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rnnlab.data.sequences.examples import Examples, Request, Source, counted
from rnnlab.errors import UserError

_OUTSIDE = "O"
_Tag = tuple[str, str]  # its prefix, and the kind of its entity


class _Scheme(NamedTuple):
    """Prefixes; whether a tag may follow another one; the tag of IOB2 for one that follows another."""

    prefixes: str
    fits: Callable[[_Tag, _Tag], bool]
    as_iob2: Callable[[_Tag, _Tag], str]


def _goes_on(before: _Tag, tag: _Tag) -> bool:
    """Returns whether `before` is within an entity of the same kind."""
    return before[0] in ("B", "I") and before[1] == tag[1]


def _fits_bioes(before: _Tag, tag: _Tag) -> bool:
    return _goes_on(before, tag) if tag[0] in ("I", "E") else before[0] not in ("B", "I")


def _bioes_as_iob2(_: _Tag, tag: _Tag) -> str:
    return {"S": "B", "E": "I"}.get(tag[0], tag[0])


_SCHEMES = {
    "IOB2": _Scheme("BI", lambda before, tag: tag[0] != "I" or _goes_on(before, tag), lambda _, tag: tag[0]),
    "IOB": _Scheme(
        "BI",
        lambda before, tag: tag[0] != "B" or _goes_on(before, tag),
        lambda before, tag: tag[0] if tag[0] != "I" or _goes_on(before, tag) else "B",
    ),
    "BIOES": _Scheme("BIES", _fits_bioes, _bioes_as_iob2),
}


class _Sentence(NamedTuple):
    """Words and their tags; `line` is the line of the first word."""

    line: int
    words: tuple[str, ...]
    tags: tuple[str, ...]


class _Misfit(NamedTuple):
    """The first tag that does not fit a scheme, and its line."""

    line: int
    tag: str
    before: str


def read(request: Request, source: Source) -> Examples:
    """Reads one file.

    Raises:
      UserError: a line that is not UTF-8, has no tag or another number of columns than the first; a tag that does not
        fit the scheme.
    """
    sentences = list(_sentences(request, source))
    if not sentences:
        raise UserError(f"{source.name}: no sentence")
    answers: list | None = None
    if request.answered:
        answers = _as_iob2(sentences, request.data.tag_scheme, source.name)
    return Examples(
        [sentence.words for sentence in sentences],
        answers,
        None,
        places=lambda i: f"{source.name}, line {sentences[i].line}",
    )


def entities(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Finds the entities of a sentence's IOB2 tags: the first word, the word after the last, and the kind.

    An I- that continues nothing, which models can predict, starts an entity, as in `seqeval` and conlleval.
    """
    found: list[tuple[int, int, str]] = []
    before: _Tag = _parse(_OUTSIDE)
    for i, text in enumerate(tags):
        tag = _parse(text)
        if tag[0] == "I" and _goes_on(before, tag):
            start, _, kind = found.pop()
            found.append((start, i + 1, kind))
        elif tag[0] in ("B", "I"):
            found.append((i, i + 1, tag[1]))
        before = tag
    return found


def _sentences(request: Request, source: Source) -> Iterator[_Sentence]:
    words: list[str] = []
    tags: list[str] = []
    start = columns = 0
    for number, line in source.lines():
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if words:
                yield _Sentence(start, tuple(words), tuple(tags))
            words, tags = [], []
            continue
        start = start if words else number
        cells = _cells(line)
        columns = columns or len(cells)
        if request.answered and (len(cells) < 2 or len(cells) != columns or not cells[-1]):
            raise UserError(
                f"{source.name}, line {number}: {counted(len(cells), 'column')}; a word first and its tag last "
                f"are needed, and as many columns as the first line has, {columns}"
            )
        if not cells[0]:
            raise UserError(f"{source.name}, line {number}: no word before the first TAB")
        words.append(cells[0])
        tags.append(cells[-1])
    if words:
        yield _Sentence(start, tuple(words), tuple(tags))


def _cells(line: str) -> list[str]:
    """Splits at TABs, or else at blanks, but at no other white space, which words may contain."""
    if "\t" in line:
        return [cell.strip(" ") for cell in line.split("\t")]
    return [cell for cell in line.split(" ") if cell]


def _parse(tag: str) -> _Tag:
    prefix, _, kind = tag.partition("-")
    return prefix, kind


def _as_iob2(sentences: list[_Sentence], wanted: str, name: str) -> list[tuple[str, ...]]:
    """Converts the tags of all sentences to IOB2."""
    if wanted == "any":
        return [sentence.tags for sentence in sentences]
    if wanted and wanted not in _SCHEMES:
        raise UserError(
            f"config.data.tag_scheme: {wanted!r} is not allowed; it must be empty, any, or one of {', '.join(_SCHEMES)}"
        )
    misfits = {}
    for scheme in [wanted] if wanted else _SCHEMES:
        misfit = _misfit(sentences, _SCHEMES[scheme])
        if misfit is None:
            return [_converted(sentence.tags, _SCHEMES[scheme]) for sentence in sentences]
        misfits[scheme] = misfit
    scheme, misfit = max(misfits.items(), key=lambda item: item[1].line)
    raise UserError(
        f"{name}, line {misfit.line}: the tag {misfit.tag!r} after {misfit.before} does not fit the scheme {scheme}"
        + ("" if wanted else f", and the file fits none of {', '.join(_SCHEMES)}")
        + "; --config.data.tag_scheme=any accepts any tags"
    )


def _misfit(sentences: list[_Sentence], scheme: _Scheme) -> _Misfit | None:
    for sentence in sentences:
        before, shown = _parse(_OUTSIDE), "the sentence's start"
        for step, text in enumerate(sentence.tags):
            tag = _parse(text)
            known = text == _OUTSIDE or (len(tag[0]) == 1 and tag[0] in scheme.prefixes and tag[1])
            if not known or not scheme.fits(before, tag):
                return _Misfit(_line(sentence, step), text, shown)
            before, shown = tag, repr(text)
        if not scheme.fits(before, _parse(_OUTSIDE)):
            return _Misfit(_line(sentence, len(sentence.tags) - 1), sentence.tags[-1], "which the sentence ends")
    return None


def _line(sentence: _Sentence, step: int) -> int:
    return sentence.line + step  # a sentence has no line between its words


def _converted(tags: tuple[str, ...], scheme: _Scheme) -> tuple[str, ...]:
    parsed = [_parse(_OUTSIDE), *map(_parse, tags)]
    return tuple(
        _OUTSIDE if tag[0] == _OUTSIDE else f"{scheme.as_iob2(before, tag)}-{tag[1]}"
        for before, tag in itertools.pairwise(parsed)
    )
