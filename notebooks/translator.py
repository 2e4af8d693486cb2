# %% [markdown]
# # Look into a trained translator
#
# An encoder-decoder learns to write dates in one form: `the 3rd of March 1997` becomes `1997-03-03`. Then we look at
# its attention, at the states of its encoder and at the beam of its search.

# %%
import datetime
import pathlib
import random

import matplotlib.pyplot as plt
import numpy as np

import rnnlab
from rnnlab.tasks.seq2seq.config import default_config

# %% [markdown]
# ## Data
#
# Each split is a file of two columns, separated by a TAB.

# %%
FORMS = ("{day} {month} {year}", "{month} {day}, {year}", "the {day} of {month} {year}", "{month:.3} {day} {year}")


def pair(rng):
    """Returns a line of the dataset: a random date in one of the forms, and as ISO 8601."""
    date = datetime.date(1900, 1, 1) + datetime.timedelta(days=rng.randrange(45_000))
    written = rng.choice(FORMS).format(day=date.day, month=date.strftime("%B"), year=date.year)
    return f"{written}\t{date.isoformat()}\n"


rng = random.Random(0)
for split, number in {"train": 10_000, "validation": 300, "test": 300}.items():
    pathlib.Path(f"{split}.tsv").write_text("".join(pair(rng) for _ in range(number)))
print(pathlib.Path("test.tsv").read_text()[:120])

# %% [markdown]
# ## Train

# %%
config = default_config()
config.data.update({"name": "parallel_text", "buckets": 1})
config.data.files.update({split: f"{split}.tsv" for split in ("train", "validation", "test")})
config.data.target.unit = "character"
config.model.encoder.update({"cell": "gru", "features": 48, "embedding": 32})
config.model.decoder.update({"cell": "gru", "features": 96, "embedding": 32})
config.training.update({"steps": 300, "evaluate_every": 300, "learning_rate": 6e-3, "measure_every": 0})
config.evaluation.update({"beam_size": 1, "samples": 5})
run = rnnlab.train(config, "runs/dates")

# %% [markdown]
# ## Attention
#
# Each row shows where the decoder looks while it writes one character. The year is copied; the month is looked up.

# %%
figure, panels = plt.subplots(2, 1, figsize=(8, 6.5), layout="constrained")
lines = ["the 14 of September 1986", "May 3, 2011"]
for axis, line, output, weights in zip(panels, lines, run.predict(lines), run.attention(lines), strict=True):
    axis.imshow(weights, aspect="auto")
    axis.set_xticks(range(len(line)), line)
    axis.set_yticks(range(len(output) + 1), [*output, "EOS"])
    axis.set(xlabel="source", ylabel="output")
plt.show()

# %% [markdown]
# ## States of the encoder
#
# The last states of the encoder for 300 dates, along their two main directions, coloured by month. What does the
# encoder sort by? Attention reads the outputs of each step, so that its last states need not contain everything.

# %%
examples = [line.split("\t") for line in pathlib.Path("test.tsv").read_text().splitlines()]
encoded = run.encode([source for source, _ in examples])
vectors = np.stack([each.outputs[-1] for each in encoded])  # [lines, features of both directions]
_, _, directions = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
along = (vectors - vectors.mean(0)) @ directions[:2].T
months = [int(target[5:7]) for _, target in examples]
plt.scatter(*along.T, c=months, cmap="twilight", s=14)
plt.colorbar(label="month")
plt.xlabel("first direction")
plt.ylabel("second direction")
plt.show()

# %% [markdown]
# ## The beam
#
# Beam search returns the five best outputs with their log-probabilities. The first takes nearly all of the probability
# for a form that occurred in training. For one that did not, the probability is spread, and the output need not even be
# a date.

# %%
lines = ["March 3, 1997", "3/4/1997"]
for line, answer in zip(lines, run.predict(lines, beam_size=5, n_best=5), strict=True):
    outputs, scores = answer.split("\t")[::2], answer.split("\t")[1::2]
    print(line)
    for output, score in zip(outputs, scores, strict=True):
        print(f"    {output}  {float(score):8.3f}")
