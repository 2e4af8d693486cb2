"""The words of the documentation: prose uses the field's terms."""

import ast
import io
import pathlib
import re
import tokenize
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# A pattern without a legitimate use in our prose (a blank stands for any white space), and the word to use.
BANNED = {
    r"\b(start|end|special|padding) signs?\b": "special token, BOS, EOS or PAD",
    r"\bsigns\b": "special tokens, or punctuation",
    r"\b(told|said)\b": "predicted, logged, printed or stated",
    r"\bit says\b": "predicts, logs, prints or states",
    r"\b(go|goes|going|gone|went) on\b": "resumes or continues",
    r"\bleaves? out\b": "skips or excludes; regularisation",
    r"(?<!/)\bapart\b": "separately",
    r"\blikeliest\b": "most likely",
    r"\bhears? itself\b": "autoregressive",
    r"\ball (steps )?at once\b": "parallel in time",
    r"(?<!there)(?<!\s) is (?-i:none)\b": "is not one of; 0 disables it; no ...",
    r"\bnone: 0\b": "0 disables it",
    r"\bof one's own\b": "your own, the user's own",
    r"\bgiven? back\b": "returned or restored",
    r"\bmade(-| )up\b": "synthetic or generated",
    r"\bnats an? (step|token|character|example)\b": "nats per",
}
_INLINE_CODE = re.compile(r"(`+)[^`]*?\1", re.DOTALL)
_FENCED_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_MARGIN = re.compile(r"\n[ \t]*(#[ \t])?[ \t]*")  # of a line that continues a docstring or comment


def _blank(text: str, pattern: re.Pattern[str]) -> str:
    """Removes what matches, except its line breaks, so that the rest keeps its line."""
    return pattern.sub(lambda found: "\n" * found.group().count("\n"), text)


def _prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yields docstrings, other strings with a blank (names and keys have none), and blocks of comments."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value
    block, first, last = [], 0, -1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line = token.start[0]
            if line != last + 1:
                yield first, "\n".join(block)
                block, first = [], line
            block.append(token.string)
            last = line
    yield first, "\n".join(block)


def _misuses(path: pathlib.Path) -> Iterator[str]:
    """Yields a message for each banned term in the prose of a file."""
    text = path.read_text(encoding="utf-8")
    parts = _prose_of_python(text) if path.suffix == ".py" else [(1, _blank(text, _FENCED_CODE))]
    for first, part in parts:
        prose = _blank(part, _INLINE_CODE)
        lines = [0, *(found.end() for found in _MARGIN.finditer(prose))]
        joined = _MARGIN.sub(lambda found: " " * len(found.group()), prose)
        for pattern, word in BANNED.items():
            for found in re.finditer(pattern.replace(" ", r"\s+"), joined, re.IGNORECASE):
                line = first + sum(start <= found.start() for start in lines) - 1
                yield f"{path}, line {line}: {' '.join(found.group().split())!r}; write {word}"


def _files() -> list[pathlib.Path]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    code = [path for folder in ("rnnlab", "configs", "notebooks") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [*pages, *code, ROOT / "launch.py"]


def test_prose_uses_the_words_of_the_field():
    found = [message for path in _files() for message in _misuses(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("doc.py", '"""First.\n\nIt takes the likeliest token.\n"""\n', 3),
        ("comment.py", "x = 1\n# why: it is\n# given back\n", 3),
        ("message.py", 'x = 1\nraise ValueError(f"{x}: the value is\\n none")\n', 2),
        ("inner.py", 'def f():\n    """Runs all steps at\n    once.\n    """\n', 2),
        ("page.md", "# Page\n\nThe run goes\non from there.\n", 3),
    ],
)
def test_a_banned_word_is_found_with_its_line(tmp_path, name, text, line):
    (tmp_path / name).write_text(text)
    (message,) = _misuses(tmp_path / name)
    assert message.startswith(f"{tmp_path / name}, line {line}: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("code.md", "Run `rnnlab/apart/512`:\n\n```bash\necho goes on\n```\n"),
        ("code.py", 'apart = {"apart": 1}  # `apart`\n'),
    ],
)
def test_code_is_not_prose(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert not list(_misuses(tmp_path / name))
