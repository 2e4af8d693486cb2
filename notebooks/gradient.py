# %% [markdown]
# # What a gradient does
#
# The loss depends on the last of 60 steps only. How large is its gradient with respect to each earlier input? It is a
# product of one Jacobian for each step in between, so it shrinks or grows exponentially.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from rnnlab import CELLS, scan
from rnnlab.gradient_flow import lag_jacobians, step_gradients

STEPS, BATCH, FEATURES, HIDDEN = 60, 8, 16, 32
inputs = jax.random.normal(jax.random.key(0), (STEPS, BATCH, FEATURES))
target = jax.random.normal(jax.random.key(1), (BATCH, HIDDEN))


def loss(hidden):
    """Computes the squared error of the last state; hidden is `[time, batch, hidden]`."""
    return jnp.mean((hidden[-1] - target) ** 2)


# %% [markdown]
# ## Through time, for three cells
#
# Before training, a GRU is hardly better than a vanilla RNN: its gates start half open, so each step halves the old
# state. The bias of 1 of the LSTM's forget gate carries a gradient a million times further.

# %%
found = {name: CELLS[name].init(jax.random.key(2), FEATURES, HIDDEN) for name in ("rnn", "gru", "lstm")}
for name, params in found.items():
    norms = step_gradients(CELLS[name], params, inputs, loss).inputs.mean(1)  # [time, batch], mean over the batch
    plt.semilogy(norms, label=name)
    print(f"{name:5} the first step gets {float(norms[0] / norms[-1]):.1e} of what the last one gets")
plt.xlabel("step t")
plt.ylabel("norm of dL/dx_t")
plt.legend()
plt.show()

# %% [markdown]
# ## Vanish or explode: the singular values
#
# Scale the recurrent matrix R of the vanilla RNN. Each curve has the singular values of dh_T / dh_(T-lag). If the
# largest falls with the lag, every gradient vanishes; if it rises, some explode, although most directions still vanish.

# %%
rnn, base = CELLS["rnn"], found["rnn"]
quiet = 0.1 * inputs  # a saturated tanh would hide the effect of R
figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
for axis, scale in zip(panels, (0.7, 1.0, 1.6), strict=True):
    measured = lag_jacobians(rnn, base | {"R": scale * base["R"]}, quiet, lags=[1, 5, 20, 50])
    for lag, values in zip(measured.lags, measured.log_singular_values[:, 0], strict=True):
        axis.plot(values / np.log(10), label=f"lag {lag}")
    axis.set(title=f"R scaled by {scale}", xlabel="index of the singular value")
panels[0].set_ylabel("log10 of the singular value")
panels[0].legend()
plt.show()

# %% [markdown]
# ## Clipping keeps the direction
#
# Clipping by the global norm divides the whole gradient by one number: its direction stays, as the cosine of 1 shows.
# Clipping each entry changes the direction.

# %%
large = base | {"R": 1.6 * base["R"]}
gradient = jax.grad(lambda params: 100 * loss(scan(rnn, params, inputs)[0]))(large)


def flat(tree):
    """Joins all entries of a pytree into one vector."""
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


for name, clip in {"global norm": optax.clip_by_global_norm(1.0), "each entry": optax.clip(0.05)}.items():
    clipped, _ = clip.update(gradient, clip.init(large))
    before, after = flat(gradient), flat(clipped)
    cosine = before @ after / jnp.linalg.norm(before) / jnp.linalg.norm(after)
    print(f"{name:12} norm {jnp.linalg.norm(before):7.2f} -> {jnp.linalg.norm(after):.2f}, cosine {cosine:.4f}")
