"""The description of a recurrent cell, as data.

A step of every cell is

    a_t = x_t W + b                   input projection,     [batch, gates * hidden]
    r_t = h_{t-1} R                   recurrent projection, [batch, gates * hidden]
    s_t = combine(params, s_{t-1}, a_t, r_t)

and only `combine` differs from one cell to the next (the split of FlashRNN, Poeppel et al. 2024, arXiv 2412.07752).
Imports only jax.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Params = dict[str, Array]
State = tuple[Array, ...]
RECURRENCES = ("dense", "headsN", "diagonal", "none")


class _Facts(Mapping[str, Any]):
    """An immutable and hashable mapping, equal to any other with the same items in the same order."""

    def __init__(self, items: Mapping[str, Any]):
        self._items = {name: _by_value(value) if callable(value) else float(value) for name, value in items.items()}

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return {**self, **other}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and tuple(self.items()) == tuple(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return repr(self._items)


class _Partial(functools.partial):
    """A partial that is equal to any other with the same function and arguments."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Partial) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple:
        keywords = frozenset((name, type(value), value) for name, value in self.keywords.items())
        return self.func, tuple((type(value), value) for value in self.args), keywords  # 1 and 1.0 are not the same


def _by_value(value: Any) -> Any:
    if type(value) is functools.partial:
        keywords = {name: _by_value(own) for name, own in value.keywords.items()}
        with contextlib.suppress(TypeError):  # arrays have no hash: a partial with one stays equal to itself only
            hash(equal := _Partial(_by_value(value.func), *map(_by_value, value.args), **keywords))
            return equal
    return value


@dataclasses.dataclass(frozen=True)
class Cell:
    """A recurrent cell, equal to any other with the same fields: a copy, for instance, or a pickled one.

    Functions are equal if they are the same object, partials (`functools.partial`) if function and arguments are equal.
    They must not change: equal cells share compiled programs.

    Main attributes:
      name: used in messages.
      gates: one name per block of columns of `W`, `R` and `b`, in that order.
      combine: `(params, state, a, r) -> state`, with `state` a tuple of `[batch, hidden]` and `a`, `r`
        `[batch, gates * hidden]`. It is pointwise in the units, unless `mixes_units`.
      state_names: the entries of the state; the first one is the output `h`.

    Other attributes:
      gate_bias: the gates whose bias has an initial value other than 0, with that value.
      memory_gates: the gates whose bias controls how long a memory lasts: 1 if an open gate makes it longer, -1 if an
        open gate makes it shorter.
      unit_params: parameters `[hidden]` that `combine` reads by name, with their initial value, or a function that
        draws it: `(key, [hidden]) -> values`.
      split_gates: the trailing gates for which `combine` uses `a` and `r` separately. For all others it uses only
        `a + r`, so the scan stores just the sum.
      reads_params: which of `R` and `b` `combine` reads itself.
      mixes_units: whether a unit of the new state depends on other units by more than `r`.
      affine: whether `combine` is affine in the state while `r` is 0.
      continuous: whether the cell is a system in continuous time: `combine` takes a fifth argument `dt`
        `[batch, hidden]`, the time since the step before, 1 by default.
      recurrence: the structure of `R`: "dense"; "headsN", N blocks on the diagonal; "diagonal", a number for each unit
        and gate; or "none". `structured` returns the cell with another structure.
      first_recurrence: the structure of the cell from which `structured` made this one; None if it did not.
      together: entries of the state that form one number, such as the parts of a complex number: zoneout keeps either
        all of them or none.
      mean: `(rate, old, new) -> entries`, the mean over a zoneout that keeps the old entries of `together` with
        probability `rate`, above 0 and below 1; None: rate * old + (1 - rate) * new for each entry.

    Raises:
      ValueError: an unknown recurrence, or fields that do not fit each other.
    """

    name: str
    gates: tuple[str, ...]
    combine: Callable[..., State]
    state_names: tuple[str, ...] = ("h",)
    gate_bias: Mapping[str, float] = dataclasses.field(default_factory=dict)
    memory_gates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unit_params: Mapping[str, float | Callable[..., Array]] = dataclasses.field(default_factory=dict)
    split_gates: tuple[str, ...] = ()
    reads_params: tuple[str, ...] = ()
    mixes_units: bool = False
    affine: bool = False
    continuous: bool = False
    recurrence: str = "dense"
    first_recurrence: str | None = None
    together: tuple[str, ...] = ()
    mean: Callable[[float, State, State], State] | None = None

    def __post_init__(self):
        for field in ("gates", "state_names", "split_gates", "reads_params", "together"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        object.__setattr__(self, "gate_bias", dict(sorted(self.gate_bias.items())))  # their order has no meaning
        for field in ("gate_bias", "memory_gates", "unit_params"):
            try:
                object.__setattr__(self, field, _Facts(getattr(self, field)))
            except TypeError:
                raise ValueError(f"cell {self.name!r}: {field} must hold numbers, not {getattr(self, field)}") from None
        for field in ("combine", "mean"):
            object.__setattr__(self, field, _by_value(getattr(self, field)))
        _check_recurrence(self)
        for field in ("gate_bias", "memory_gates"):
            if unknown := set(getattr(self, field)) - set(self.gates):
                raise ValueError(f"cell {self.name!r}: {field} names {sorted(unknown)}, but its gates are {self.gates}")
        if self.split_gates != self.gates[len(self.gates) - len(self.split_gates) :]:
            raise ValueError(
                f"cell {self.name!r}: split_gates is {self.split_gates}, but must be the last of its gates {self.gates}"
            )
        if unknown := set(self.together) - set(self.state_names):
            raise ValueError(
                f"cell {self.name!r}: together names {sorted(unknown)}, but its state is {self.state_names}"
            )
        if self.mean and not self.together:
            raise ValueError(f"cell {self.name!r}: mean is for the entries in `together`, which is empty")

    @property
    def is_linear(self) -> bool:
        """Whether a step is affine in the state: no `R`, and `combine` is affine."""
        return self.affine and self.recurrence == "none"

    @property
    def masks(self) -> tuple[int, ...]:
        """The index of the zoneout mask of each entry of the state: its own, or that of the first of `together`."""
        grouped = [name in self.together for name in self.state_names]
        return tuple(grouped.index(True) if own else index for index, own in enumerate(grouped))

    def features(self, params: Params) -> int:
        """Returns the number of units of parameters."""
        return params["b"].shape[0] // len(self.gates)

    def heads(self, hidden_features: int) -> int:
        """Returns the number of blocks of `R`: 1 if it is dense, one for each unit if it is diagonal or absent.

        Raises:
          ValueError: the number of units is not a multiple of the number of heads.
        """
        if self.recurrence == "dense":
            return 1
        if self.recurrence in ("diagonal", "none"):
            return hidden_features
        heads = int(self.recurrence.removeprefix("heads"))
        if hidden_features % heads:
            raise ValueError(f"cell {self.name!r}: {hidden_features} units cannot be shared by {heads} heads evenly")
        return heads

    @property
    def combine_params(self) -> tuple[str, ...]:
        """Names of the parameters that `combine` reads."""
        return (*self.unit_params, *self.reads_params)

    def init(
        self, key: PRNGKeyArray, in_features: int, hidden_features: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> Params:
        """Draws parameters `{"W": [in, G*H], "R": [H, G*H], "b": [G*H]}` and one `[H]` for each of `unit_params`.

        With N heads `R` is `[N, H/N, G*H/N]`, with a diagonal recurrence `[G*H]`; with none it is absent. Each gate's
        block of `W` is Glorot-uniform (Glorot and Bengio 2010), each block of `R` orthogonal (Saxe et al. 2014, arXiv
        1312.6120), a diagonal uniform in 0 to 1 (Li et al. 2018, arXiv 1803.04831); biases are 0 or `gate_bias`.

        Raises:
          ValueError: `hidden_features` is not a multiple of the number of heads.
        """
        input_key, recurrent_key = jax.random.split(key)
        blocks = len(self.gates)
        glorot = jax.nn.initializers.glorot_uniform()
        params = {
            "W": jnp.concatenate(
                [glorot(k, (in_features, hidden_features)) for k in jax.random.split(input_key, blocks)], axis=1
            ),
            "b": jnp.repeat(jnp.asarray([self.gate_bias.get(g, 0.0) for g in self.gates]), hidden_features),
        }
        if self.recurrence != "none":
            params["R"] = self._draw_recurrent(recurrent_key, hidden_features)
        for index, (name, value) in enumerate(self.unit_params.items()):
            units, unit_key = (hidden_features,), jax.random.fold_in(key, index)
            params[name] = value(unit_key, units) if callable(value) else jnp.full(units, value)
        return {name: value.astype(dtype) for name, value in params.items()}

    def _draw_recurrent(self, key: PRNGKeyArray, hidden_features: int) -> Array:
        blocks, heads = len(self.gates), self.heads(hidden_features)
        if self.recurrence == "diagonal":
            return jax.random.uniform(key, (blocks * hidden_features,))
        square = (hidden_features // heads,) * 2
        orthogonal = jax.nn.initializers.orthogonal()
        drawn = [
            jnp.concatenate([orthogonal(k, square) for k in jax.random.split(head_key, blocks)], axis=1)
            for head_key in (jax.random.split(key, heads) if heads > 1 else [key])
        ]
        return drawn[0] if self.recurrence == "dense" else jnp.stack(drawn)

    def initial_state(
        self, batch: int, hidden_features: int, dtype: jax.typing.DTypeLike = jnp.float32
    ) -> tuple[Float[Array, "batch hidden"], ...]:
        """Returns the state before the first step: zeros `[batch, hidden]`, one array for each of `state_names`."""
        return tuple(jnp.zeros((batch, hidden_features), dtype) for _ in self.state_names)


def structured(cell: Cell, recurrence: str) -> Cell:
    """Returns the cell with another structure of `R`.

    `rnn` with "diagonal" is IndRNN (Li et al. 2018, arXiv 1803.04831). Its name becomes "rnn/diagonal", which
    `find_cell` accepts. With its first structure this returns the first cell.

    Raises:
      ValueError: an unknown structure, or a cell whose `combine` multiplies with a dense `R`.
    """
    first, name = cell.recurrence, cell.name
    if cell.first_recurrence is not None:
        first, name = cell.first_recurrence, cell.name.removesuffix(f"/{cell.recurrence}")
    if recurrence == first:
        return dataclasses.replace(cell, name=name, recurrence=first, first_recurrence=None)
    return dataclasses.replace(cell, name=f"{name}/{recurrence}", recurrence=recurrence, first_recurrence=first)


def _check_recurrence(cell: Cell) -> None:
    if not re.fullmatch("dense|heads[1-9][0-9]{0,5}|diagonal|none", cell.recurrence):
        raise ValueError(
            f"cell {cell.name!r}: unknown recurrence {cell.recurrence!r}; allowed: {', '.join(RECURRENCES)} (heads4)"
        )
    if cell.recurrence != "dense" and "R" in cell.reads_params:
        raise ValueError(
            f"cell {cell.name!r}: recurrence {cell.recurrence!r} is not allowed; its combine multiplies with a dense R"
        )
