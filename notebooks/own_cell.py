# %% [markdown]
# # Your own cell
#
# A cell is a pointwise function: the products with the weight matrices, the loop over time and its derivative are
# derived from it. Here it is the minimal gated unit (Zhou et al. 2016, arXiv 1603.09420), a GRU with one gate.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

from rnnlab import CELLS, Cell, check_cell, scan
from rnnlab.gradient_flow import lag_norms, lyapunov_exponents

# %% [markdown]
# ## Define it
#
# `a = x W + b` and `r = h R` are the projections of the input and of the last state, with a block of columns for each
# gate. The candidate `n` uses `a` and `r` separately, because the gate `f` multiplies only `r`: `split_gates` names it.


# %%
def combine(params, state, a, r):
    """Returns the next state: a mean of the last one and a candidate, weighted by the gate `f`."""
    (h,) = state
    a_f, a_n = jnp.split(a, 2, axis=-1)
    r_f, r_n = jnp.split(r, 2, axis=-1)
    f = jax.nn.sigmoid(a_f + r_f)
    n = jnp.tanh(a_n + f * r_n)
    return ((1 - f) * h + f * n,)


mgu = Cell(name="mgu", gates=("f", "n"), split_gates=("n",), combine=combine)

# %% [markdown]
# ## Check it
#
# `check_cell` tests what every cell must satisfy: padding, chunks, reversal, the gradients, the Jacobian, saturated
# inputs and bfloat16. It raises an error that names what failed.

# %%
check_cell(mgu)

# %% [markdown]
# ## Run it over time
#
# `scan` maps `[time, batch, features]` to `[time, batch, hidden]`. The parameters are a dictionary of arrays.

# %%
params = mgu.init(jax.random.key(0), 16, 32)
inputs = jax.random.normal(jax.random.key(1), (200, 4, 16))
outputs, (last,) = scan(mgu, params, inputs)
print({name: value.shape for name, value in params.items()}, outputs.shape)

# %% [markdown]
# The same call computes all steps in parallel by Newton's method, with the same result.

# %%
parallel, _ = scan(mgu, params, inputs, method="newton")
print("largest difference:", float(jnp.abs(outputs - parallel).max()))

# %% [markdown]
# ## Its gradient flow
#
# How much of a gradient at the last step arrives `lag` steps earlier? The norm of the Jacobian of the last state with
# respect to an earlier one answers that. The gate of `mgu` starts half open, so it forgets as fast as a GRU.

# %%
lags = list(range(0, 101, 4))
for name, cell in {"mgu": mgu, "rnn": CELLS["rnn"], "gru": CELLS["gru"], "lstm": CELLS["lstm"]}.items():
    own = cell.init(jax.random.key(0), 16, 32)
    norms = lag_norms(cell, own, inputs, lags=lags)[:, :, 0, 0].mean(1)  # [lags, batch, after, before], mean over batch
    plt.plot(lags, norms / jnp.log(10), label=name)
    print(f"{name:5} largest Lyapunov exponent {float(lyapunov_exponents(cell, own, inputs).max()):.3f} nats per step")
plt.xlabel("lag, steps")
plt.ylabel("log10 of the norm of dh_T / dh_(T-lag)")
plt.legend()
plt.show()

# %% [markdown]
# ## Train with it
#
# Put the definition into a file, and name it wherever a config takes a cell:
#
# ```bash
# python launch.py --config=configs/cmudict.py --workdir=runs/mgu --config.model.encoder.cell=my_cells.py:mgu
# ```
