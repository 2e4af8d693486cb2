"""Continues lines of text: python run.py < prompts > texts. Needs only jax and numpy."""

import itertools
import re
import sys

import numpy as np
from exported import EOS, PAD, Vocabulary, padded, program, read

PIECE = 64  # tokens of the prompts that are read at a time
ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}  # so that a text is one line
ESCAPED = {after: before for before, after in ESCAPES.items()}


def encode(line, vocabulary):
    """Returns the ids of a prompt; of units that drop line breaks, EOS is one."""
    how = ("utf-8", "surrogateescape") if vocabulary.about["unit"] == "byte" else ("utf-8-sig", "replace")
    line = line.removesuffix(b"\n").removesuffix(b"\r").decode(*how)
    text = re.sub(r"\\[\\nrt]", lambda found: ESCAPED[found[0]], line)
    if vocabulary.exact:
        return vocabulary.encode(text)
    return [token for each in text.split("\n") for token in [EOS, *vocabulary.encode(each.strip())]][1:]


def decode(ids, vocabulary):
    """Returns the text of ids."""
    breaks = [] if vocabulary.exact else [at for at, token in enumerate(ids) if token == EOS]
    return "\n".join(vocabulary.decode(ids[a:b]) for a, b in itertools.pairwise([0, *breaks, len(ids)]))


def answers(lines, first, settings, vocabulary):
    """Yields a continuation of each line; `first` is the number of the first one."""
    rows, prompts = settings["batch_size"], [[settings["first"], *encode(line, vocabulary)] for line in lines]
    lengths = np.array([len(ids) - 1 for ids in prompts] + [0] * (rows - len(prompts)), np.int32)
    tokens = padded([np.array(ids, np.int32) for ids in prompts], lengths.max() + PIECE, rows)
    states = program("start")(lengths)["states"]
    for begin in range(0, lengths.max(), PIECE):
        states = program("read")(states, tokens[begin : begin + PIECE], np.clip(lengths - begin, 0, PIECE))["states"]
    room = np.arange(rows) < np.full((settings["max_tokens"], 1), len(prompts))
    last, numbers = tokens[lengths, np.arange(rows)], first + np.arange(rows, dtype=np.int32)
    found = np.asarray(program("continuation")(states, last, room, numbers)["tokens"])
    for (_, *ids), (best, *_) in zip(prompts, found, strict=False):
        answer = [int(token) for token in best if token not in (PAD, settings["end"])]
        before, both = decode(ids, vocabulary), decode(ids + answer, vocabulary)
        text = both.removeprefix(before) if both.startswith(before) else decode(answer, vocabulary)
        yield text.translate(str.maketrans(ESCAPES))


def main():
    settings, vocabulary, done = read("runner.json"), Vocabulary("vocabulary.json"), 0
    while lines := list(itertools.islice(sys.stdin.buffer, settings["batch_size"])):
        texts = "".join(f"{text}\n" for text in answers(lines, done, settings, vocabulary))
        sys.stdout.buffer.write(texts.encode())
        done += len(lines)


if __name__ == "__main__":
    main()
