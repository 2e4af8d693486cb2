# %% [markdown]
# # Quick start
#
# A model that pronounces English words: letters in, phones out, learnt from the CMU pronouncing dictionary. It trains
# for half a minute here; `configs/cmudict.py` trains a larger one to a word error rate of 33 % in a few minutes.

# %%
import matplotlib.pyplot as plt

import rnnlab
from rnnlab.tasks.seq2seq.config import default_config

# %% [markdown]
# ## The config
#
# Every experiment is a config, whose fields all have defaults. Here the model is small and trains for few steps.

# %%
config = default_config()
config.model.encoder.update({"cell": "gru", "features": 64})
config.model.decoder.update({"cell": "gru", "features": 128})
config.data.buckets = 1
config.training.update({"steps": 300, "evaluate_every": 300, "learning_rate": 5e-3, "measure_every": 0})
config.evaluation.update({"beam_size": 1, "samples": 0, "batch_size": 1024})

# %% [markdown]
# ## Train
#
# The work directory contains all that the run needs to resume or to be used later. The last line has the scores of the
# test split: `per` counts the errors per 100 phones, `wer` the words with any error.

# %%
run = rnnlab.train(config, "runs/quick_start")

# %% [markdown]
# ## Predict

# %%
words = ["banana", "recurrence", "gradient", "network"]
for word, phones in zip(words, run.predict(words), strict=True):
    print(f"{word:12} {phones}")

# %% [markdown]
# ## Look at it
#
# `metrics.csv` holds each value that was logged; here it is the loss of training. Attention shows which letters each
# phone was read from.

# %%
losses = [(row["step"], row["value"]) for row in run.metrics() if (row["split"], row["name"]) == ("train", "loss")]
(weights,) = run.attention(["banana"])
phones = [*run.predict(["banana"])[0].split(), "EOS"]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(*zip(*losses, strict=True))
left.set(xlabel="step", ylabel="loss per phone, nats")
right.imshow(weights)
right.set_xticks(range(len("banana")), "banana")
right.set_yticks(range(len(phones)), phones)
right.set(xlabel="source", ylabel="output")
plt.show()
