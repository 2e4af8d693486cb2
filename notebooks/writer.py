# %% [markdown]
# # A language model that writes
#
# A language model predicts the next character. Trained on the spelling of English words, it invents new ones.

# %%
import matplotlib.pyplot as plt

import rnnlab
from rnnlab.tasks.language_model.config import default_config

# %% [markdown]
# ## Train
#
# Without files, the text is the list of words of the CMU dictionary. The streams of a batch are read in pieces of 64
# characters, and the recurrent state is carried from piece to piece. `configs/language_model.py` trains a larger model.

# %%
config = default_config()
config.model.features = 128
config.training.update({"steps": 500, "batch_size": 32, "evaluate_every": 500, "measure_every": 0})
config.training.learning_rate = 8e-3
config.evaluation.update({"samples": 0, "streams": 64})
run = rnnlab.train(config, "runs/writer")

# %% [markdown]
# ## Write
#
# A sample is drawn character by character. A low temperature prefers likely characters, a high one is bolder. The model
# reads a word and a line break first (`\\n` in a prompt), since its state was never empty in training.

# %%
for temperature in (0.3, 1.0, 1.6):
    words = run.predict(["house\\n"] * 6, temperature=temperature, stop="line", max_tokens=20)
    print(f"temperature {temperature}:", *words)

# %% [markdown]
# ## What surprises it?
#
# The surprise of a character is its negative log-probability, given those before it.

# %%
words = ["strength", "rhythm"]
scores = run.predict(["house\\n" + word for word in words], token_scores=True)
figure, panels = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, word, answer in zip(panels, words, scores, strict=True):
    axis.bar(range(len(word)), [-float(score) for score in answer.split()[-len(word) :]])
    axis.set_xticks(range(len(word)), word)
panels[0].set_ylabel("surprise, nats")
plt.show()
