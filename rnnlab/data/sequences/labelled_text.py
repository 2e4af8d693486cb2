"""Texts with a class: a line is the class, a TAB and the text, which may have further TABs.

In a stream for prediction, a line without TAB is a text; the part before the first TAB is ignored.
"""

from rnnlab.data.sequences.examples import Examples, Request, Source
from rnnlab.errors import UserError


def read(request: Request, source: Source) -> Examples:
    """Reads one file.

    Raises:
      UserError: a line that is not UTF-8, or has no TAB, no class or no text.
    """
    source = source._replace(content=source.content.rstrip(b"\r\n"))
    texts, classes = [], []
    for number, line in source.lines():
        label, tab, text = line.partition("\t")
        if not tab and not request.answered:
            text = line
        if request.answered and not (tab and label.strip()):
            raise UserError(f"{source.name}, line {number}: a class, one TAB and a text are needed")
        if not text.strip():
            raise UserError(f"{source.name}, line {number}: no text")
        texts.append(text)
        classes.append(label.strip())
    return Examples(texts, classes if request.answered else None, None, lambda i: f"{source.name}, line {i + 1}")
