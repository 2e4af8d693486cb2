"""The description of a recurrent cell: all that is known about a cell, as data.

A step of every cell is

    a_t = x_t W + b                   input projection,     [batch, gates * hidden]
    r_t = h_{t-1} R                   recurrent projection, [batch, gates * hidden]
    s_t = combine(params, s_{t-1}, a_t, r_t)

and only `combine` differs from one cell to the next (the split of FlashRNN, Poeppel et al. 2024, arXiv 2412.07752).
Imports jax only.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Params = dict[str, Array]
State = tuple[Array, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A recurrent cell.

    Attributes:
      name: what messages call it.
      gates: one name per block of columns of `W`, `R` and `b`, in that order.
      combine: `(params, state, a, r) -> state`, with `state` a tuple of `[batch, hidden]` and `a`, `r`
        `[batch, gates * hidden]`. Everything in it is pointwise in the units, unless `mixes_units`.
      state_names: the entries of the state; the first one is the output `h`.
      gate_bias: gates whose bias starts at another value than 0.
      memory_gates: gates whose bias says how long a memory lasts: 1 where it lasts longer the further the gate is open,
        -1 where the less.
      unit_params: parameters `[hidden]` that `combine` reads by name, with their initial value.
      apart: gates, the last of `gates`, whose `a` and `r` `combine` reads apart. Of every other gate it reads `a + r`
        only, so that a scan need store but the sum.
      reads: which of `R` and `b` `combine` reads itself.
      mixes_units: a unit of the new state depends on others by more than `r`.
    """

    name: str
    gates: tuple[str, ...]
    combine: Callable[[Params, State, Array, Array], State]
    state_names: tuple[str, ...] = ("h",)
    gate_bias: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory_gates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unit_params: Mapping[str, float] = dataclasses.field(default_factory=dict)
    apart: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    mixes_units: bool = False

    def __post_init__(self):
        for field in ("gate_bias", "memory_gates"):
            if unknown := set(getattr(self, field)) - set(self.gates):
                raise ValueError(f"cell {self.name!r}: {field} names {sorted(unknown)}, but its gates are {self.gates}")
        if self.apart != self.gates[len(self.gates) - len(self.apart) :]:
            raise ValueError(
                f"cell {self.name!r}: apart is {self.apart}, but must be the last of its gates {self.gates}"
            )

    @property
    def combine_params(self) -> tuple[str, ...]:
        """Names of the parameters that `combine` reads."""
        return (*self.unit_params, *self.reads)

    def init(
        self, key: PRNGKeyArray, in_features: int, hidden_features: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Params:
        """Draws parameters `{"W": [in, G*H], "R": [H, G*H], "b": [G*H]}` and one `[H]` for each of `unit_params`.

        Each gate's block of `W` is Glorot-uniform (Glorot and Bengio 2010), each block of `R` orthogonal
        (Saxe et al. 2014, arXiv 1312.6120), biases are 0 or `gate_bias`.
        """
        input_key, recurrent_key = jax.random.split(key)
        blocks = len(self.gates)
        glorot, orthogonal = jax.nn.initializers.glorot_uniform(), jax.nn.initializers.orthogonal()
        square = (hidden_features, hidden_features)
        params = {
            "W": jnp.concatenate(
                [glorot(k, (in_features, hidden_features)) for k in jax.random.split(input_key, blocks)], axis=1
            ),
            "R": jnp.concatenate([orthogonal(k, square) for k in jax.random.split(recurrent_key, blocks)], axis=1),
            "b": jnp.repeat(jnp.asarray([self.gate_bias.get(g, 0.0) for g in self.gates]), hidden_features),
        }
        params |= {name: jnp.full((hidden_features,), value) for name, value in self.unit_params.items()}
        return {name: value.astype(dtype) for name, value in params.items()}

    def initial_state(
        self, batch: int, hidden_features: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> tuple[Float[Array, "batch hidden"], ...]:
        """The state before the first step: zeros `[batch, hidden]`, one for each of `state_names`."""
        return tuple(jnp.zeros((batch, hidden_features), dtype) for _ in self.state_names)
