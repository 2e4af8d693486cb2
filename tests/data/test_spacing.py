"""What is counted for many texts at a time against the rule, spelled out for one pair of neighbours after the other."""

import collections
import random
import unicodedata

from rnnlab.data.spacing import SpacingCounts


def _is_sign(character):
    return unicodedata.category(character)[0] not in "LMN" and character != "_"


def _situations(tokens):
    seen = collections.Counter()
    for left, token, right in zip(["", *tokens], tokens, [*tokens[1:], ""], strict=False):
        if left[-1:].isdigit() and right[:1].isdigit():
            yield 2
        else:
            yield seen[token] % 2
            seen[token] += 1


def _tight(texts):
    votes = collections.defaultdict(list)
    for text, tokens in texts:
        situations, end, found = list(_situations(tokens)), 0, []
        for token in tokens:
            found.append((text.find(token, end), text.find(token, end) + len(token)))
            end = found[-1][1]
        for i in range(len(tokens) - 1):
            vote = 1 if found[i][1] == found[i + 1][0] else -1
            if _is_sign(tokens[i][-1]):
                votes["after", tokens[i], situations[i]].append(vote)
            if _is_sign(tokens[i + 1][0]) or not _is_sign(tokens[i][-1]):
                votes["before", tokens[i + 1], situations[i + 1]].append(vote)
    tight = {"before": {}, "after": {}}
    for side, token, _ in votes:
        usual = sum(votes.get((side, token, 0), []))
        sums = [sum(votes[side, token, s]) if (side, token, s) in votes else usual for s in range(3)]
        if any(each > 0 for each in sums):
            tight[side][token] = [s for s in range(3) if sums[s] > 0]
    return tight


def test_what_is_learned_follows_the_rule_over_many_texts():
    rng = random.Random(0)
    words = ["a", "b", "3", "14", "n't", ".", ",", '"', "(", ")", "é", "x_"]
    texts = []
    for _ in range(3000):
        tokens = rng.choices(words, k=rng.randint(0, 12))
        gaps = [rng.choice(["", " ", " ", "  "]) for _ in tokens]
        texts.append(("".join(gap + token for gap, token in zip(gaps, tokens, strict=True)).strip(), tokens))
    texts += [(" ".join(tokens), tokens) for _, tokens in texts] * 3  # more tokens than are counted at a time
    counts = SpacingCounts()
    for text, tokens in texts[:-1]:
        counts.add(text, tokens)
    assert counts.tight() == _tight(texts[:-1])
    counts.add(*texts[-1])
    assert counts.tight() == _tight(texts)
