"""Answers sequences, one in JSON on each line: python run.py < sequences.jsonl. Needs only jax and numpy."""

import itertools
import json
import sys

import numpy as np
from exported import EOS, Vocabulary, padded, program, read, standardise

LETTERS, SHORTEST = 32, 8  # of a word, at most; steps of a batch, at least
SETTINGS = read("runner.json")
WORDS, CHARACTERS = (name and Vocabulary(name) for name in SETTINGS["vocabularies"])


def encode(sequence):
    """Returns the arrays `[steps, ...]` of a sequence: ids and any characters, or numbers and any times of steps."""
    if WORDS is None:
        return encode_numbers(np.array(sequence, np.float64), SETTINGS["numbers"])
    if isinstance(sequence, str):
        return [np.append(WORDS.encode(sequence), np.int32(EOS))]
    ids = WORDS.encode(" ".join(word.replace(" ", "\u00a0") for word in sequence))
    if CHARACTERS is None:
        return [ids]
    return [ids, padded([CHARACTERS.encode(word)[:LETTERS] for word in sequence], LETTERS, len(ids)).T]


def encode_numbers(rows, about):
    """Standardises numbers, and converts any times to units of their mean interval."""
    rows, times = (rows[:, :-1], rows[:, -1]) if about["timed"] else (rows, rows[:, 0])
    rows = standardise(rows, about)
    if not about["interval"]:
        return [rows]
    dt = np.concatenate([[1], times[1:] / about["interval"]]).astype(np.float32)
    return [rows, dt] if about["continuous"] else [np.concatenate([rows, dt[:, None]], axis=1)]


def outputs(sequences):
    """Yields the output of each sequence, without padding; batches have few shapes, because each is compiled."""
    columns, lengths = SETTINGS["batch_size"], np.array([len(arrays[0]) for arrays in sequences], np.int32)
    steps = 1 << int(max(SHORTEST, lengths.max()) - 1).bit_length()
    inputs, *others = (padded(part, steps, columns) for part in zip(*sequences, strict=True))
    found = program("forward")(inputs, np.pad(lengths, (0, columns - len(lengths))), *others)["outputs"]
    found = np.asarray(found, np.float64)
    for column, length in enumerate(lengths):
        yield found[:length, column] if SETTINGS["answer"].endswith("per_step") else found[column]


def answer(output, learnt):
    """Converts an output to numbers, probabilities or classes."""
    if SETTINGS["answer"] == "numbers":
        return output * learnt["deviation"] + learnt["mean"]
    if SETTINGS["answer"] == "labels_per_step":
        return 1 / (1 + np.exp(-output))
    return np.array(learnt["labels"])[output.argmax(-1)]


while lines := list(itertools.islice(sys.stdin, SETTINGS["batch_size"])):
    for output in outputs([encode(json.loads(line)) for line in lines]):
        found = answer(output, SETTINGS["learnt"])
        print(found if isinstance(found, str) else json.dumps(found.tolist(), ensure_ascii=False), flush=True)
