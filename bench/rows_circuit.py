"""Rows of ratios.py: circuits against scalar back-propagation in plain Python, and NumPy by hand.

An expression of 100,000 gates is built, evaluated and differentiated, or compiled beforehand and
evaluated and differentiated again. On many rows the same formula is written by hand in NumPy,
forward and backward, without a wasted operation.

Plain Python gets its best setting: Python's cyclic garbage collector, which would take nine tenths
of its time, is off, and cycles are broken by hand.
"""

import gc
import math
import random
from functools import lru_cache
from itertools import pairwise

import numpy as np

from contest import N_THREADS, Row
from fastnn.circuit import Circuit, Unit
from python_reference import Value, release

N_GATES = 100_000
N_ROWS = 10_000
N_CHAIN_LEAVES = 100


# ---- one row -------------------------------------------------------------------------------------


def network(make, layers, seed=0):
    """Return the output and the weights of a multi-layer perceptron, one scalar at a time."""
    generator = random.Random(seed)
    values = [make(generator.uniform(-1, 1)) for _ in range(layers[0])]
    weights = []
    for n_inputs, n_outputs in pairwise(layers):
        outputs = []
        for _ in range(n_outputs):
            total = make(0.1)
            weights.append(total)
            for value in values:
                weight = make(generator.uniform(-1, 1) / math.sqrt(n_inputs))
                weights.append(weight)
                total = total + weight * value
            outputs.append(total.tanh())
        values = outputs
    return values[0], weights


@lru_cache
def chain_program(n_gates):
    """Return random steps; each takes the value before it and any other one."""
    generator, n, program = random.Random(0), 0, []
    while n < n_gates:
        kind = generator.randrange(4)
        program.append((kind, generator.randrange(N_CHAIN_LEAVES + len(program))))
        n += 1 if kind == 1 else 2
    return program


def chain(make):
    """Return the output and the leaves of one long chain of gates, with fan-out."""
    generator = random.Random(0)
    leaves = [make(generator.uniform(0.5, 1.5)) for _ in range(N_CHAIN_LEAVES)]
    nodes = list(leaves)
    for kind, other in chain_program(N_GATES):
        first, second = nodes[other], nodes[-1]
        if kind == 0:
            node = (first + second) * 0.5
        elif kind == 1:
            node = first * second
        elif kind == 2:
            node = (first + second).tanh()
        else:
            node = (first * second).sigmoid()
        nodes.append(node)
    return nodes[-1], leaves


# 200 * 249 + 249 products and as many sums, and 250 hyperbolic tangents.
EXPRESSIONS = {
    "network": lambda make: network(make, (200, 249, 1)),
    "chain": chain,
}


def run(build, make):
    output, leaves = build(make)
    output.backward()
    return output, leaves


def run_plain_python(build):
    gc.disable()
    output, _ = build(Value)
    release(output.backward())
    gc.enable()


def expression_row(name, is_compiled):
    build = EXPRESSIONS[name]
    output, leaves = build(Unit)
    circuit = Circuit(output)

    def again():
        circuit.forward()
        circuit.backward()

    def check():
        expected, expected_leaves = run(build, Value)
        expected_gradient = np.array([leaf.grad for leaf in expected_leaves])
        ours, our_leaves = run(build, Unit)
        assert math.isclose(ours.value, expected.data, rel_tol=1e-9)
        circuit.zero_grad()
        assert circuit.forward() == ours.value
        circuit.backward()
        size = np.abs(expected_gradient).max()
        for found in (our_leaves, leaves):
            gradient = np.array([leaf.grad for leaf in found])
            np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-9, atol=1e-9 * size)

    contestants = {
        "fastnn": again if is_compiled else lambda: run(build, Unit),
        "plain Python": lambda: run_plain_python(build),
    }
    what = "compiled, again" if is_compiled else "built, forward, backward"
    target = {"plain Python": 300 if is_compiled else 5}
    name = f"{name} of {circuit.n_gates:,} gates, {what}"
    # Evaluated again means often: the tape is in the cache.
    calls = {"fastnn": 20 if is_compiled else 1, "plain Python": 1}
    return Row(name, target, contestants, (), check, calls)


# ---- many rows -----------------------------------------------------------------------------------


def neuron():
    a, b, c, x, y = (Unit(v) for v in (1.0, 2.0, -3.0, 0.0, 0.0))
    return (a * x + b * y + c).sigmoid(), [x, y], [a, b, c]


def neuron_in_numpy(X, parameters):
    a, b, c = parameters
    x, y = X[:, 0], X[:, 1]
    values = 1.0 / (1.0 + np.exp(-(a * x + b * y + c)))
    dscore = values * (1.0 - values)
    dX = np.empty_like(X)
    dX[:, 0] = a * dscore
    dX[:, 1] = b * dscore
    return values, dX, np.array([dscore @ x, dscore @ y, dscore.sum()])


def rational():
    """A formula without a transcendental function: NumPy's loops are as short as can be."""
    x, y, z, p = (Unit(v) for v in (0.0, 0.0, 0.0, 1.5))
    return (x + y) * z / (p + x * x) - (y * z).relu(), [x, y, z], [p]


def rational_in_numpy(X, parameters):
    (p,) = parameters
    x, y, z = X[:, 0], X[:, 1], X[:, 2]
    s = x + y
    denominator = p + x * x
    quotient = s * z / denominator
    yz = y * z
    values = quotient - np.maximum(yz, 0.0)
    dnumerator = 1.0 / denominator
    ddenominator = -quotient / denominator
    dyz = -(yz > 0.0).astype(np.float64)
    dX = np.empty_like(X)
    ds = dnumerator * z
    dX[:, 0] = ds + 2.0 * x * ddenominator
    dX[:, 1] = ds + dyz * z
    dX[:, 2] = dnumerator * s + dyz * y
    return values, dX, np.array([ddenominator.sum()])


def small_network(n_inputs=4, n_hidden=8):
    generator = random.Random(0)
    inputs = [Unit(0.0) for _ in range(n_inputs)]
    W = [[Unit(generator.uniform(-1, 1)) for _ in inputs] for _ in range(n_hidden)]
    v = [Unit(generator.uniform(-1, 1)) for _ in range(n_hidden)]
    total = None
    for weights, factor in zip(W, v, strict=True):
        score = weights[0] * inputs[0]
        for weight, value in zip(weights[1:], inputs[1:], strict=True):
            score = score + weight * value
        term = factor * score.tanh()
        total = term if total is None else total + term
    return total, inputs, [weight for weights in W for weight in weights] + v


def small_network_in_numpy(X, parameters):
    v = parameters[-8:]
    W = parameters[:-8].reshape(8, 4)
    hidden = np.tanh(X @ W.T)
    dscores = (1.0 - hidden * hidden) * v
    return hidden @ v, dscores @ W, np.concatenate([(dscores.T @ X).ravel(), hidden.sum(axis=0)])


def rows_row(name, build, by_hand):
    output, inputs, parameters = build()
    circuit = Circuit(output, inputs, n_jobs=N_THREADS)
    X = np.random.default_rng(0).standard_normal((N_ROWS, len(inputs)))
    values_of_parameters = np.array([unit.value for unit in parameters])

    def run_circuit():
        values = circuit.forward(X)
        return values, circuit.backward()

    def check():
        circuit.zero_grad()
        values, dX = run_circuit()
        gradient = np.array([unit.grad for unit in parameters])
        expected = by_hand(X, values_of_parameters)
        for ours, theirs in zip((values, dX, gradient), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)

    contestants = {
        "fastnn": run_circuit,
        "numpy": lambda: by_hand(X, values_of_parameters),
    }
    return Row(
        f"{name}, {N_ROWS:,} rows, forward, backward", {"numpy": 0.5}, contestants, (), check, 20
    )


ROWS = {
    "circuit-network": lambda: expression_row("network", False),
    "circuit-chain": lambda: expression_row("chain", False),
    "circuit-network-tape": lambda: expression_row("network", True),
    "circuit-chain-tape": lambda: expression_row("chain", True),
    "circuit-rows-neuron": lambda: rows_row("a neuron", neuron, neuron_in_numpy),
    "circuit-rows-rational": lambda: rows_row("a rational formula", rational, rational_in_numpy),
    "circuit-rows-network": lambda: rows_row(
        "a network of 4-8-1", small_network, small_network_in_numpy
    ),
}
