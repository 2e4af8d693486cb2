"""Answers lines of text: python run.py [greedy | beam] < lines > answers. Needs only jax and numpy."""

import itertools
import sys

import numpy as np
from exported import Vocabulary, padded, program, read

SHORTEST = 8  # steps of a batch


def answers(lines, search, settings, source, target):
    """Yields an answer for each line; batches have few shapes, because each is compiled."""
    limits = np.array(settings["limits"], np.int32)  # of an output, by the length of its source
    ids = [source.encode(line.decode("utf-8-sig", "replace").strip())[: len(limits) - 1] for line in lines]
    columns = settings["batch_size"]
    lengths = np.array([*map(len, ids)] + [0] * (columns - len(ids)), np.int32)
    steps = 1 << int(max(SHORTEST, lengths.max()) - 1).bit_length()
    room = np.arange(limits[min(steps, len(limits) - 1)])[:, None] < limits[lengths]
    tokens = np.asarray(search(padded(ids, steps, columns), lengths, room)["tokens"])  # [batch, hypotheses, target]
    for best, *_ in tokens[: len(ids)]:
        yield target.decode(best).translate({10: " ", 13: " "})


def main():
    settings = read("runner.json")
    search = program(sys.argv[1] if len(sys.argv) > 1 else settings["program"])
    vocabularies = Vocabulary("source_vocabulary.json"), Vocabulary("target_vocabulary.json")
    while lines := list(itertools.islice(sys.stdin.buffer, settings["batch_size"])):
        for answer in answers(lines, search, settings, *vocabularies):
            sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
