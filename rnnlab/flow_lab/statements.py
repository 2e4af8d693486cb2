"""The statements of the tutorial, each with the rows that test it and the rules for its verdict."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from matplotlib.axes import Axes

from rnnlab.flow_lab.checks import clipped, gated, growth, lengths, parallel, seq2seq
from rnnlab.flow_lab.table import Table
from rnnlab.flow_lab.verdicts import Check, Finding


class Statement(NamedTuple):
    """A statement: the study that measures it, its experiment, its checks, and its figure."""

    study: str
    statement: str
    experiment: str
    checks: Callable[[Table], list[Check]]
    draw: Callable[[Table, Axes], None]


def judge(table: Table) -> list[Finding]:
    """Judges every statement for which the rows have checks."""
    found = []
    for name, s in STATEMENTS.items():
        if table.different(s.study, "cell"):
            experiment = s.experiment.format(task=_task(table, s.study))
            found.append(Finding(name, s.statement, experiment, s.checks(table), functools.partial(s.draw, table)))
    return [finding for finding in found if finding.checks]


def _task(table: Table, study: str) -> str:
    """Returns the problem of the training runs of a study; empty if it has no runs."""
    return table.config[study].get("task", "")


STATEMENTS: dict[str, Statement] = {
    "multiplication": Statement(
        "criterion",
        "The gradient at a lag holds W_hh multiplied with itself that many times, so it grows or shrinks "
        "exponentially.",
        "A linear cell over normal inputs; growth of the norm of dh_T / dh_0 per step, against the largest eigenvalue.",
        growth.check_multiplication,
        growth.draw_multiplication,
    ),
    "singular_value": Statement(
        "criterion",
        "A largest singular value of W_hh above 1 explodes the gradient, one below 1 makes it vanish.",
        "Linear and tanh cells, Gaussian and orthogonal W_hh of several gains; a case explodes if its growth is above "
        "0, vanishes if it is below.",
        growth.check_criterion,
        growth.draw_criterion,
    ),
    "derivative": Statement(
        "criterion",
        "The criterion with the derivative of tanh counted: the singular value of a whole step tells which way it "
        "goes.",
        "The tanh cells of the experiment above; the mean over steps of the log norm of the step's exact Jacobian.",
        growth.check_derivative,
        growth.draw_derivative,
    ),
    "explosion": Statement(
        "explosion",
        "Gradient clipping cures the exploding gradient.",
        "The problem {task}, a tanh cell whose W_hh is Gaussian with gain above 1, SGD; with and without clipped.",
        clipped.check_explosion,
        clipped.draw_explosion,
    ),
    "direction": Statement(
        "direction",
        "Gradient clipping shortens a gradient and keeps its direction.",
        "The gradient of |h_T|^2 / 2 for the parameters of untrained cells over normal inputs, clipped by its global "
        "norm or entry by entry, with several limits; gradients within a limit are left out.",
        clipped.check_direction,
        clipped.draw_direction,
    ),
    "vanishing": Statement(
        "vanishing",
        "Gradient clipping cures even the vanishing gradient.",
        "The problem {task}, a tanh cell whose W_hh is orthogonal with gain below 1; loss with and without clipped.",
        clipped.check_vanishing,
        clipped.draw_vanishing,
    ),
    "gates": Statement(
        "flow",
        "Gates keep the gradient where the vanilla RNN loses it.",
        "Every untrained cell, over normal inputs: growth of the norm of dh_T / dh_0, against the tanh cell's.",
        gated.check_gates,
        gated.draw_gates,
    ),
    "highway": Statement(
        "flow",
        "The cell state of an LSTM is a highway for the gradient: dc_T / dc_t is the product of the forget gates.",
        "An untrained LSTM, over normal inputs: the norm of dc_T / dc_t through every path, against the largest "
        "product of forget gates of any unit.",
        gated.check_highway,
        gated.draw_highway,
    ),
    "gated": Statement(
        "reach",
        "LSTM and GRU learn over lags at which the vanilla RNN learns nothing.",
        "The problem {task} at growing T, each cell with its own learning rate from the config.",
        gated.check_gated,
        gated.draw_gated,
    ),
    "as_well": Statement(
        "reach",
        "A GRU does as well as an LSTM, with less.",
        "Parameters, FLOPs and time of a layer; the lags of the problem {task} that each solves.",
        gated.check_as_well,
        gated.draw_as_well,
    ),
    "same_weights": Statement(
        "reach",
        "The same weights at every step: the number of parameters does not grow with T.",
        "The parameters of every trained model.",
        lengths.check_same_weights,
        lengths.draw_same_weights,
    ),
    "any_length": Statement(
        "lengths",
        "The same weights read sequences of any length: what was learnt at one holds at the others.",
        "The problem {task}, trained at one length and read at others; the floor is the loss without memory.",
        lengths.check_any_length,
        lengths.draw_any_length,
    ),
    "sequential": Statement(
        "cost",
        "An RNN cannot be parallelised: its time grows with T.",
        "Sequential forward and backward pass of a layer, against length.",
        parallel.check_time,
        parallel.draw_time,
    ),
    "one_by_one": Statement(
        "newton",
        "An RNN cannot be parallelised: a step must wait for the one before.",
        "Newton's method on all T steps in parallel, for cells with Gaussian R of several gains, against the largest "
        "Lyapunov exponent; a solved case differs from the sequential loop only by rounding.",
        parallel.check_newton,
        parallel.draw_newton,
    ),
    "warm": Statement(
        "warm",
        "Training by Newton's method: parallel in time throughout, faster from the states of the last training step.",
        "The problem {task}, trained sequentially; meanwhile Newton's method with the full and with the diagonal "
        "Jacobian, without a guess, and one training step later from the states of the step before.",
        parallel.check_warm,
        parallel.draw_warm,
    ),
    "generation": Statement(
        "generation",
        "An autoregressive decoder, which reads its own output, must run one step after the other.",
        "A small network that learnt a noisy wave continues it for 20 times the training length, its output plus noise "
        "being its next input; forward pass by Newton's method with the full Jacobian, its diagonal, and in chunks of "
        "the training length with the full one, tolerance 1e-5, at most T / 4 iterations, against the sequential loop.",
        parallel.check_generation,
        parallel.draw_generation,
    ),
    "one_vector": Statement(
        "context",
        "The context vector, the last state of the encoder, carries the whole source.",
        "An encoder and a decoder, in one direction each, copy random symbols; the encoder's last state starts the "
        "decoder, and nothing else passes. A fixed number of training steps; greedy search.",
        seq2seq.check_context,
        seq2seq.draw_context,
    ),
    "at_the_start": Statement(
        "context",
        "The context vector need only start the decoder.",
        "The same model, with the context as a further input of every step of the decoder, or with attention.",
        seq2seq.check_more_context,
        seq2seq.draw_context,
    ),
    "other_lengths": Statement(
        "outputs",
        "An encoder and a decoder write outputs longer or shorter than their inputs.",
        "A model with attention writes each symbol of its source twice, or every second one.",
        seq2seq.check_outputs,
        seq2seq.draw_outputs,
    ),
    "embedding_dropout": Statement(
        "dropout",
        "Dropout on the embeddings makes a model generalise better.",
        "Spelling to phones, 3,000 words of the CMU dictionary; the best step on validation; loss of the test split.",
        seq2seq.check_dropout,
        seq2seq.draw_dropout,
    ),
}
