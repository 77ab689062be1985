"""Units, gates, expressions and compiled circuits; their pictures."""

import copy
import math
import pickle
import sys
import threading
import tracemalloc
from decimal import Decimal
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import children
import oracles
from fastnn import _circuit_drawing as drawing
from fastnn import circuit as module
from fastnn.circuit import (
    AddGate,
    Circuit,
    DivideGate,
    DotGate,
    ExpGate,
    LogGate,
    MaxGate,
    MultiplyGate,
    NegateGate,
    PowerGate,
    ReluGate,
    SigmoidGate,
    SubtractGate,
    TanhGate,
    Unit,
    dot,
)
from fastnn.gradcheck import check_gradient, numerical_gradient
from fastnn.optimize import gradient_descent

WIDTHS = [1, 3, 7, 15, 16, 17, 31, 33, 97]
GATES = {
    "add": AddGate,
    "subtract": SubtractGate,
    "multiply": MultiplyGate,
    "divide": DivideGate,
    "max": MaxGate,
    "power": PowerGate,
    "negate": NegateGate,
    "exp": ExpGate,
    "log": LogGate,
    "tanh": TanhGate,
    "sigmoid": SigmoidGate,
    "relu": ReluGate,
}
ONE_INPUT = ["negate", "exp", "log", "tanh", "sigmoid", "relu"]
APPLY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "max": lambda a, b: a.max(b),
    "power": lambda a, b: a**b,
    "negate": lambda a, b: -a,
} | {name: lambda a, b, name=name: getattr(a, name)() for name in ONE_INPUT[1:]}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -2.5, math.inf, -math.inf, math.nan, 1e308, -1e308]
SPECIAL += [5e-324, -1e-310, 710.0, -745.0, 746.0, 1e-20, 20.0, 40.0]


def neuron():
    a, b, c, x, y = (
        Unit(value, name=name)
        for value, name in zip((1.0, 2.0, -3.0, -1.0, 3.0), "abcxy", strict=True)
    )
    return (a * x + b * y + c).sigmoid(), (a, b, c, x, y)


def build(steps, values):
    """Return the output and the leaves of a formula of `oracles.circuit`, as units."""
    leaves = [Unit(value) for value in values]
    nodes = list(leaves)
    for gate, i, j in steps:
        nodes.append(APPLY[gate](nodes[i], nodes[j]))
    return nodes[-1], leaves


def random_steps(rng, n_leaves, n_steps, gates=tuple(GATES)):
    """Steps that each take the one before, so that all of them count."""
    return [
        (str(rng.choice(gates)), n_leaves + k - 1, int(rng.integers(n_leaves + k)))
        for k in range(n_steps)
    ]


def grads(units):
    return [unit.grad for unit in units]


def assert_same(actual, expected):
    """Equal bit for bit, but for the payload and the sign of NaN."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_array_equal(actual, expected)
    is_number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual)[is_number], np.signbit(expected)[is_number])


# ---- the numbers that everybody knows ------------------------------------------------------------


def test_neuron():
    f, units = neuron()
    assert f.value == pytest.approx(0.8808, abs=5e-5)
    f.backward()
    np.testing.assert_allclose(grads(units), [-0.105, 0.315, 0.105, 0.105, 0.210], atol=5e-5)
    assert f.grad == 1.0
    after = f.step(0.01)
    assert math.floor(after * 1e4) == 8825  # 0.88255, which is quoted as 0.8825
    assert f.value == after


def test_neuron_gate_by_gate():
    _, (a, b, c, x, y) = neuron()
    products, sums, squash = (MultiplyGate(), MultiplyGate()), (AddGate(), AddGate()), SigmoidGate()

    def forward():
        ax, by = products[0].forward(a, x), products[1].forward(b, y)
        return squash.forward(sums[1].forward(sums[0].forward(ax, by), c))

    s = forward()
    s.grad = 1.0
    for gate in (squash, sums[1], sums[0], products[1], products[0]):
        gate.backward()
    units = (a, b, c, x, y)
    np.testing.assert_allclose(grads(units), [-0.105, 0.315, 0.105, 0.105, 0.210], atol=5e-5)
    for unit in units:
        unit.value += 0.01 * unit.grad
    assert forward() is s
    assert s.value == pytest.approx(0.88255, abs=1e-6)
    assert s.grad == 0.0  # as that of a new unit


def test_neuron_compiled():
    f, units = neuron()
    circuit = Circuit(f)
    assert [unit.name for unit in circuit.inputs] == ["a", "x", "b", "y", "c"]
    assert circuit.parameters == ()
    assert circuit.n_gates == 5
    assert circuit.forward() == pytest.approx(0.8808, abs=5e-5)
    gradient = circuit.backward()
    np.testing.assert_allclose(gradient, [-0.105, 0.105, 0.315, 0.210, 0.105], atol=5e-5)
    np.testing.assert_allclose(grads(units), [-0.105, 0.315, 0.105, 0.105, 0.210], atol=5e-5)
    circuit.step(0.01)
    assert circuit.forward() == pytest.approx(0.88255, abs=1e-6)
    assert f.value == pytest.approx(0.8808, abs=5e-5)  # units of gates are left as they are


def test_product_of_a_sum():
    x, y, z = Unit(-2.0), Unit(5.0), Unit(-4.0)
    f = (x + y) * z
    f.backward()
    assert (f.value, x.grad, y.grad, z.grad) == (-12.0, -4.0, -4.0, 3.0)


# ---- gates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", GATES)
def test_gate_against_numpy(isa, gate, rng):
    """Values to 3 units in the last place of the exact one, derivatives to 1e-12."""
    X = np.exp(rng.uniform(-3, 3, (2, 500)))
    if gate not in ("log", "power"):
        X *= rng.choice([-1.0, 1.0], X.shape)
    (value, gradient) = oracles.circuit([(gate, 0, 1)], X)
    a, b = Unit(0.0), Unit(0.0)
    circuit = Circuit(APPLY[gate](a, b), [a] if gate in ONE_INPUT else [a, b])
    n = len(circuit.inputs)
    ours, our_gradient = circuit(X[:n].T)
    ulp = np.spacing(np.abs(value.astype(np.float64)))
    assert (np.abs(ours - value) <= 3 * ulp).all()
    np.testing.assert_allclose(our_gradient.T, gradient[:n].astype(float), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("gate", ["exp", "log", "tanh", "sigmoid"])
def test_functions_over_their_whole_range(isa, gate, rng):
    x = np.concatenate(
        [
            rng.uniform(-746, 710, 20_000),
            rng.uniform(-1, 1, 20_000),
            rng.choice([-1.0, 1.0], 20_000) * np.exp(rng.uniform(-740, 709, 20_000)),
            np.float64([709.78, 709.79, -745.13, -745.14, -708.0, -709.0, 2.2250738585072014e-308]),
        ]
    )
    if gate == "log":
        x = np.abs(x)
    with np.errstate(over="ignore", under="ignore"):
        exact = oracles.GATE_VALUES[gate](x.astype(np.longdouble), None)
        expected = exact.astype(np.float64)
    unit = Unit(0.0)
    ours = Circuit(getattr(unit, gate)(), [unit]).forward(x[:, None])
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(ours[~finite], expected[~finite])
    error = np.abs(ours[finite] - exact[finite]) / np.spacing(np.abs(expected[finite]))
    assert error.max() <= {"exp": 1.0, "log": 1.0, "tanh": 3.0, "sigmoid": 3.0}[gate]


@pytest.mark.parametrize("gate", GATES)
def test_special_values_are_those_of_numpy(isa, gate):
    """Neither raises: overflow, log of 0, division by 0."""
    pairs = np.array([(a, b) for a in SPECIAL for b in SPECIAL])
    with np.errstate(all="ignore"):
        expected = oracles.GATE_VALUES[gate](pairs[:, 0], pairs[:, 1])
    a, b = Unit(0.0), Unit(0.0)
    circuit = Circuit(APPLY[gate](a, b), [a] if gate in ONE_INPUT else [a, b])
    rows = pairs[:, : len(circuit.inputs)]
    ours = circuit.forward(rows)
    np.testing.assert_allclose(ours, expected, rtol=1e-15, atol=5e-324)
    if gate not in ("max", "relu"):  # NumPy's sign of the largest zero depends on the CPU
        np.testing.assert_array_equal(np.signbit(ours[ours == 0]), np.signbit(expected[ours == 0]))
    for row, value in zip(rows, ours, strict=True):
        units = [Unit(number) for number in row]
        assert_same(APPLY[gate](units[0], units[-1]).value, value)


@pytest.mark.parametrize(
    ("value", "exponent", "expected"),
    [(0.0, 0.0, (0.0, -math.inf)), (0.0, 2.5, (0.0, 0.0)), (0.0, 1.0, (1.0, 0.0))],
)
def test_power_at_zero(value, exponent, expected):
    a, b = Unit(value), Unit(exponent)
    (a**b).backward()
    assert (a.grad, b.grad) == expected
    a.grad = 0.0
    (a**exponent).backward()
    assert a.grad == expected[0]


def test_squares_are_exact():
    x = Unit(0.1)
    assert (x**2).value == 0.1 * 0.1 == (x ** Unit(2.0)).value
    (x**2).backward()
    assert x.grad == 0.2
    assert (x**2).gate == "square"
    assert (x**3).gate == "constant power"


def test_ties_and_kinks():
    a, b = Unit(2.0), Unit(2.0)
    a.max(b).backward()
    assert (a.grad, b.grad) == (1.0, 0.0)
    zero = Unit(0.0)
    zero.relu().backward()
    assert zero.grad == 0.0
    nan, one = Unit(math.nan), Unit(1.0)
    assert math.isnan(nan.max(one).value)
    assert math.isnan(one.max(nan).value)
    assert math.isnan(nan.relu().value)


@pytest.mark.parametrize("gate", GATES)
def test_gate_objects_do_what_operators_do(gate):
    values = (0.7, 1.3)[: 1 if gate in ONE_INPUT else 2]
    by_hand, by_operator = ([Unit(value) for value in values] for _ in range(2))
    made = GATES[gate](*by_hand)
    made.output.grad = 0.5
    made.backward()
    f = APPLY[gate](by_operator[0], by_operator[-1])
    f.backward(0.5)
    assert made.output.value == f.value
    assert made.output.gate == f.gate == gate
    assert made.inputs == tuple(by_hand) == made.output.inputs
    assert grads(by_hand) == grads(by_operator)
    made.backward()  # adds
    assert grads(by_hand) == [2 * grad for grad in grads(by_operator)]


def test_gate_is_evaluated_again():
    a, b, c = Unit(2.0), Unit(3.0), Unit(10.0)
    gate = MultiplyGate(a, b)
    output = gate.output
    output.grad = 1.0
    a.value = 5.0
    assert gate.forward() is output
    assert (output.value, output.grad) == (15.0, 0.0)
    other = gate.forward(a, c)
    assert other is not output
    assert (output.value, other.value) == (15.0, 50.0)
    assert repr(gate) == "MultiplyGate(Unit(5, grad=0), Unit(10, grad=0))"


def test_dot_gate():
    weights, inputs = [Unit(2.0), Unit(-3.0), Unit(1.0)], [Unit(-1.0), Unit(-2.0), Unit(4.0)]
    gate = DotGate(weights, inputs)
    assert gate.output.value == 8.0
    for times in (1, 2):
        gate.output.grad = 1.0
        gate.backward()
        assert grads(weights) == [-times, -2 * times, 4 * times]
        assert grads(inputs) == [2 * times, -3 * times, times]
    inputs[0].value = 1.0
    assert gate.forward().value == 12.0
    assert dot(weights, inputs).value == 12.0
    assert dot(weights[:1], inputs[:1]).value == 2.0


def test_gates_refuse_what_does_not_fit():
    with pytest.raises(TypeError, match=r"AddGate must be a Unit, got float; .*Unit\(number\)"):
        AddGate(Unit(1.0), 2.0)
    with pytest.raises(TypeError, match="AddGate takes 2 Units, got 1"):
        AddGate().forward(Unit(1.0))
    with pytest.raises(TypeError, match="TanhGate takes 1 Unit, got 2"):
        TanhGate(Unit(1.0), Unit(2.0))
    with pytest.raises(TypeError, match="DotGate takes two sequences of Units, got 1 arg"):
        DotGate([Unit(1.0)])
    with pytest.raises(TypeError, match="DotGate must be a Unit, got int"):
        DotGate([Unit(1.0)], [1])
    with pytest.raises(ValueError, match="same length of at least 1, got 2 and 1"):
        DotGate([Unit(1.0), Unit(1.0)], [Unit(1.0)])
    with pytest.raises(ValueError, match="same length of at least 1, got 0 and 0"):
        dot([], [])
    with pytest.raises(TypeError, match="an item of second must be a Unit, got float"):
        dot([Unit(1.0)], [1.0])


@pytest.mark.parametrize("gate", [AddGate, DotGate])
def test_gate_before_forward(gate):
    with pytest.raises(ValueError, match=r"no inputs yet: call forward\(...\)"):
        gate().backward()
    with pytest.raises(ValueError, match=r"no inputs yet: call forward\(...\)"):
        gate().forward()


def test_cycle():
    gate, other = AddGate(), MultiplyGate()
    a, b = Unit(1.0), Unit(2.0)
    output = gate.forward(a, b)
    with pytest.raises(ValueError, match="a cycle: an input of AddGate depends on its own output"):
        gate.forward(output, b)
    with pytest.raises(ValueError, match="a cycle"):
        gate.forward(a, other.forward(output, b).tanh())
    assert gate.output is output  # unchanged
    dotted = DotGate([a], [b])
    with pytest.raises(ValueError, match="a cycle: an input of DotGate"):
        dotted.forward([a], [dotted.output])
    # A unit's inputs are set once and for all.
    with pytest.raises(AttributeError):
        output.inputs = (output, b)
    with pytest.raises(TypeError, match="cannot be made again"):
        output.__init__(3.0)


# ---- units and expressions -----------------------------------------------------------------------


def test_plain_numbers_on_either_side():
    x = Unit(3.0)
    assert [(x + 1).value, (1 + x).value, (x - 1).value, (1 - x).value] == [4, 4, 2, -2]
    assert [(x * 2).value, (2 * x).value, (x / 2).value, (6 / x).value] == [6, 6, 1.5, 2]
    assert [(x**2).value, (2**x).value, (-x).value, (+x).value] == [9, 8, -3, 3]
    assert [x.max(5).value, x.max(1.0).value] == [5, 3]
    assert sum([x, x, x]).value == 9
    for number in (2, True, np.float32(2), np.float64(2), np.int8(2)):
        assert (x * number).value == 3.0 * float(number)
        assert type(number * x) is Unit
    constant = (x * 2).inputs[1]
    assert constant.is_constant
    assert not x.is_constant
    f = x * 2
    f.backward()
    assert constant.grad == 0.0
    assert f.inputs[1].grad == 0.0  # a constant has no derivative


def test_numpy_arrays_of_units():
    W = np.array([[Unit(1.0), Unit(2.0)], [Unit(3.0), Unit(4.0)]])
    x = np.array([Unit(5.0), Unit(6.0)])
    total = np.tanh(W @ x).sum()
    total.backward()
    assert total.value == pytest.approx(2.0)
    assert np.exp(x[0] * 0.0).value == 1.0
    assert (np.array([1.0, 2.0]) * x[0])[1].value == 10.0


@pytest.mark.parametrize("other", ["2", None, [1.0], 1j, np.ones(2), object()])
def test_no_numbers(other):
    x = Unit(1.0)
    if not isinstance(other, np.ndarray):  # which takes units as they come, one by one
        for combine in (
            lambda: x + other,
            lambda: other - x,
            lambda: x**other,
            lambda: other**x,
        ):
            with pytest.raises(TypeError):
                combine()
    with pytest.raises(TypeError, match="other must be a Unit or a number, got"):
        x.max(other)
    with pytest.raises(TypeError, match="value must be a real number, got"):
        Unit(other)
    with pytest.raises(TypeError, match="value must be a real number, got"):
        x.value = other
    with pytest.raises(TypeError, match="grad must be a real number, got"):
        Unit(1.0, other)
    with pytest.raises(TypeError, match="upstream must be a real number, got"):
        x.backward(other)
    with pytest.raises(TypeError, match="step_size must be a real number, got"):
        x.step(other)


def test_more_that_units_refuse():
    x = Unit(1.0)
    with pytest.raises(TypeError, match="str"):
        Unit(1.0, name=3)
    with pytest.raises(TypeError):
        pow(x, 2, 3)
    with pytest.raises(TypeError):
        pow(2, x, 3)
    with pytest.raises(AttributeError, match=r"the output of a gate \(multiply\) follows from"):
        (x * 2).value = 3.0
    f = x * 2
    f.name = "double"
    with pytest.raises(AttributeError, match="named 'double'"):
        f.value = 3.0
    with pytest.raises(TypeError):
        float(x)  # math.exp(x) would lose the gradient


def test_repr():
    assert repr(Unit(0.5)) == "Unit(0.5, grad=0)"
    assert repr(Unit(-1.25, 2.0, "w")) == "Unit(-1.25, grad=2, name='w')"


def test_fan_out_sums_gradients():
    x = Unit(3.0)
    f = x * x + x + x.exp() / x
    f.backward()
    expected = 2 * 3.0 + 1 + math.exp(3) / 3 - math.exp(3) / 9
    assert x.grad == pytest.approx(expected, rel=1e-14)
    y = Unit(1.5)
    (y**y).backward()
    assert y.grad == pytest.approx(1.5**1.5 * (1 + math.log(1.5)), rel=1e-14)
    z = Unit(2.0)
    (z + z).max(z * z).backward()  # a tie, and both inputs come from one unit
    assert z.grad == 2.0


def test_backward_adds_until_zero_grad():
    f, units = neuron()
    f.backward()
    once, of_gate = grads(units), f.inputs[0].grad
    f.backward()
    assert grads(units) == [2 * grad for grad in once]
    assert (f.grad, f.inputs[0].grad) == (2.0, 2 * of_gate)
    f.zero_grad()
    assert grads(units) == [0.0] * 5
    assert (f.grad, f.inputs[0].grad) == (0.0, 0.0)
    f.backward(-2.0)
    np.testing.assert_allclose(grads(units), [-2 * grad for grad in once], rtol=1e-15)


def test_evaluated_again_without_being_built_again():
    f, (a, _, _, x, _) = neuron()
    sum_of_all = f.inputs[0]
    a.value, x.value = 2.0, 0.5
    assert f.value == pytest.approx(0.8808, abs=5e-5)  # not yet
    assert f.forward() == f.value == pytest.approx(1 / (1 + math.exp(-4.0)))
    assert sum_of_all.value == 4.0


def test_unit_alone():
    x = Unit(2.0)
    assert x.forward() == 2.0
    x.backward(3.0)
    assert x.grad == 3.0
    assert x.step(0.5) == 3.5
    assert Circuit(x)([7.0]) == (7.0, [1.0])
    values, gradient = Circuit(x)(np.arange(5.0)[:, None])
    np.testing.assert_array_equal(values, np.arange(5.0))
    np.testing.assert_array_equal(gradient, np.ones((5, 1)))


CHAIN = """
import gc, pickle, sys
from fastnn.circuit import Circuit, MaxGate, Unit
x = Unit(1.0)
depth = 1_000_000
u = x
for i in range(depth // 4):
    u = (-(u + 1.0)).max(u) * 1.0
u.backward()
assert x.grad == 1.0, x.grad
x.value = 2.0
assert u.forward() == 2.0
circuit = pickle.loads(pickle.dumps(Circuit(u)))
circuit = Circuit(u)
assert circuit.n_gates == depth, circuit.n_gates
assert circuit.forward() == 2.0
value, gradient = circuit([[3.0], [4.0]])
assert value.tolist() == [3.0, 4.0] and gradient.tolist() == [[1.0], [1.0]]
del circuit
gc.collect()
middle = u
for i in range(depth // 8):
    middle = middle.inputs[0].inputs[0]
del u
assert middle.forward() == 2.0
del middle
ladder = x
for i in range(depth):
    ladder = ladder + ladder
assert ladder.value == float("inf")
del ladder
held = [x]
for i in range(depth):
    held.append(held[-1] + x)
held.clear()
gc.collect()
print("done", sys.getrefcount(x))
"""


def test_a_million_gates_deep():
    """No recursion: not in evaluation, and not when the chain is released."""
    assert children.run(CHAIN) == "done 2\n"


def test_units_are_released():
    def use():
        x = Unit(1.0, name="x" * 100)
        u = x
        for _ in range(3000):
            u = (u * x + u).tanh().max(0.5)
        u.backward()
        gate = MaxGate(u, x)
        Circuit(gate.output, [x]).forward([[1.0]])

    use()
    tracemalloc.start()
    try:
        use()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            use()
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
        assert tracemalloc.get_traced_memory()[1] > 500_000
    finally:
        tracemalloc.stop()


# ---- against the chain rule forward --------------------------------------------------------------

TAME = ("add", "subtract", "multiply", "max", "negate", "tanh", "sigmoid", "relu")


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 40))
@settings(max_examples=60)
def test_random_formulas(seed, n_leaves, n_steps):
    rng = np.random.default_rng(seed)
    steps = random_steps(rng, n_leaves, n_steps, TAME)
    X = rng.uniform(-1.5, 1.5, (n_leaves, 20))
    value, gradient = oracles.circuit(steps, X)
    f, leaves = build(steps, X[:, 0])
    used = [leaf for leaf in leaves if leaf in Circuit(f).inputs]
    kept = [leaves.index(leaf) for leaf in used]
    ours, our_gradient = Circuit(f, used)(X[kept].T)
    size = np.abs(value).max() + np.abs(gradient).max() + 1
    np.testing.assert_allclose(ours, value.astype(float), rtol=1e-9, atol=1e-12 * size)
    np.testing.assert_allclose(
        our_gradient, gradient[kept].T.astype(float), rtol=1e-9, atol=1e-10 * size
    )


# ---- one result, whichever way -------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 60), st.sampled_from(WIDTHS))
@settings(max_examples=60)
def test_units_and_circuits_agree_bit_for_bit(seed, n_leaves, n_steps, n_rows):
    """All gates, also where results are NaN and infinite."""
    rng = np.random.default_rng(seed)
    steps = random_steps(rng, n_leaves, n_steps)
    X = rng.choice([*SPECIAL, *rng.standard_normal(3 * len(SPECIAL))], (n_rows, n_leaves))
    circuit = Circuit(build(steps, np.zeros(n_leaves))[0], n_jobs=2)
    order = [int(u.name) for u in named_inputs(steps, n_leaves)]
    values, gradient = circuit(X[:, order])
    assert_same(circuit.forward(X[:, order]), values)
    assert_same(circuit.backward(), gradient)
    for row, value, derivatives in zip(X[:3], values, gradient, strict=False):
        f, leaves = build(steps, row)
        assert_same(f.value, value)
        f.backward()
        assert_same([leaves[i].grad for i in order], derivatives)
        assert_same(f.forward(), value)
        single_value, single = circuit(row[order])
        assert_same(single_value, value)
        assert_same(single, derivatives)
        again = Circuit(f)
        assert_same(again.forward(), value)
        assert_same(again.backward(), derivatives)


def named_inputs(steps, n_leaves):
    """The inputs of the same formula, named for the places of their leaves."""
    nodes = [Unit(0.0, name=str(i)) for i in range(n_leaves)]
    for gate, i, j in steps:
        nodes.append(APPLY[gate](nodes[i], nodes[j]))
    return Circuit(nodes[-1]).inputs


@pytest.mark.parametrize("n_rows", WIDTHS)
def test_rows_do_not_depend_on_their_company(isa, n_rows, rng):
    steps = random_steps(rng, 4, 30)
    f, _ = build(steps, np.zeros(4))
    circuit = Circuit(f)
    X = rng.standard_normal((300, len(circuit.inputs)))
    values, gradient = circuit(X)
    some_values, some_gradient = circuit(X[100 : 100 + n_rows])
    assert_same(some_values, values[100 : 100 + n_rows])
    assert_same(some_gradient, gradient[100 : 100 + n_rows])


def wide_circuit(n_jobs, n_gates=150, n_parameters=20):
    rng = np.random.default_rng(3)
    n_leaves = n_parameters + 3
    steps = random_steps(rng, n_leaves, n_gates, TAME)
    f, leaves = build(steps, rng.uniform(-1, 1, n_leaves))
    inputs = [leaf for leaf in Circuit(f).inputs if leaf in leaves[-3:]]
    return Circuit(f, inputs, n_jobs=n_jobs)


def test_any_number_of_threads():
    results = []
    for n_jobs in (1, 2, 3, 7):
        circuit = wide_circuit(n_jobs)
        X = np.random.default_rng(0).standard_normal((20_000, len(circuit.inputs)))
        upstream = np.linspace(-1, 1, len(X))
        values = circuit.forward(X)
        gradient = circuit.backward(upstream)
        results.append((values, gradient, np.array(grads(circuit.parameters))))
    assert len(results[0][2]) > 10
    for result in results[1:]:
        for ours, first in zip(result, results[0], strict=True):
            assert_same(ours, first)


def test_parameters_are_summed_over_the_rows(rng):
    for n_rows in (1, 5, 127, 128, 129, 1000, 5000):
        circuit = wide_circuit(1, n_gates=40)
        X = rng.standard_normal((n_rows, len(circuit.inputs)))
        upstream = rng.standard_normal(n_rows)
        circuit.forward(X)
        circuit.backward(upstream)
        everything = Circuit(circuit.output)
        columns = []
        for unit in everything.inputs:
            known = unit in circuit.inputs
            columns.append(
                X[:, circuit.inputs.index(unit)] if known else np.full(n_rows, unit.value)
            )
        _, gradient = everything(np.column_stack(columns))
        expected = upstream @ gradient
        ours = [unit.grad for unit in circuit.parameters]
        theirs = [expected[everything.inputs.index(unit)] for unit in circuit.parameters]
        scale = np.abs(upstream) @ np.abs(gradient).max(axis=1)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13 * scale)


def test_large_expression_over_rows(rng):
    """Blocks are as small as they get."""
    weights = [Unit(value) for value in rng.standard_normal(10_000)]
    x, y = Unit(0.0), Unit(0.0)
    f = x
    for weight in weights:
        f = f + weight * y
    circuit = Circuit(f, [x, y])
    X = rng.standard_normal((45, 2))
    values = circuit.forward(X)
    gradient = circuit.backward()
    total = sum(weight.value for weight in weights)
    np.testing.assert_allclose(values, X[:, 0] + X[:, 1] * total, rtol=1e-10)
    np.testing.assert_allclose(gradient, np.tile([1.0, total], (45, 1)), rtol=1e-10)
    np.testing.assert_allclose(grads(weights), np.full(10_000, X[:, 1].sum()), rtol=1e-12)


# ---- circuits ------------------------------------------------------------------------------------


def test_inputs_and_parameters():
    f, (a, b, c, x, y) = neuron()
    circuit = Circuit(f, inputs=[y, x])
    assert circuit.inputs == (y, x)
    assert circuit.parameters == (a, b, c)
    X = np.array([[3.0, -1.0], [0.0, 0.0]])
    values = circuit.forward(X)
    np.testing.assert_allclose(values, [0.8808, 0.0474], atol=5e-5)
    gradient = circuit.backward([1.0, 0.0])
    np.testing.assert_allclose(gradient, [[0.210, 0.105], [0.0, 0.0]], atol=5e-5)
    np.testing.assert_allclose(grads((a, b, c)), [-0.105, 0.315, 0.105], atol=5e-5)
    assert grads((x, y)) == [0.0, 0.0]
    circuit.step(1.0)
    assert b.value == pytest.approx(2.315, abs=5e-4)
    assert (x.value, y.value) == (-1.0, 3.0)
    assert circuit.forward(X[0]) == Circuit(f).forward()  # with the new parameters
    assert circuit.backward().shape == (2,)
    circuit.zero_grad()
    assert grads((a, b, c)) == [0.0] * 3
    assert "of 5 gates with inputs (y, x)" in repr(circuit)


def test_backward_belongs_to_its_forward():
    """Parameters that are changed in between change nothing."""
    f, (a, _, _, x, y) = neuron()
    circuit = Circuit(f, [x, y])
    circuit.forward([[1.0, 2.0]])
    expected = circuit.backward()
    a.value = 100.0
    np.testing.assert_array_equal(circuit.backward(), expected)
    circuit.forward([[1.0, 2.0]])
    assert (circuit.backward() != expected).any()


def test_no_inputs():
    f, (a, *_) = neuron()
    circuit = Circuit(f, inputs=[])
    assert len(circuit.parameters) == 5
    circuit.forward()
    assert circuit.backward().shape == (0,)
    assert a.grad == pytest.approx(-0.105, abs=5e-5)
    with pytest.raises(ValueError, match="at least one row and one feature"):
        circuit.forward(np.ones((3, 0)))


@pytest.mark.parametrize(
    "convert",
    [
        np.asfortranarray,
        lambda X: X.astype(np.float32),
        lambda X: X.astype(np.uint8),
        lambda X: X.astype(np.int32),
        lambda X: np.repeat(X, 2, axis=0)[::2],
        lambda X: X.tolist(),
        lambda X: np.lib.stride_tricks.as_strided(X, writeable=False),
    ],
)
def test_rows_of_any_kind(convert, rng):
    f, (*_, x, y) = neuron()
    circuit = Circuit(f, [x, y])
    X = rng.integers(0, 5, (40, 2)).astype(float)
    assert_same(circuit.forward(convert(X)), circuit.forward(X))
    assert_same(circuit(convert(X))[1], circuit(X)[1])


def test_circuits_refuse_what_does_not_fit():
    f, (*_, x, y) = neuron()
    with pytest.raises(TypeError, match="output must be a Unit, got float"):
        Circuit(1.0)
    with pytest.raises(TypeError, match="an item of inputs must be a Unit, got str"):
        Circuit(f, ["x"])
    with pytest.raises(ValueError, match=r"inputs\[0\] .* must be part of the expression"):
        Circuit(f, [Unit(1.0)])
    with pytest.raises(ValueError, match=r"inputs\[1\] .* not be the output of a gate"):
        Circuit(f, [x, f.inputs[0]])
    with pytest.raises(ValueError, match=r"inputs\[1\] \(Unit\(-1, .*'x'\)\) must be there once"):
        Circuit(f, [x, x])
    circuit = Circuit(f, [x, y])
    with pytest.raises(ValueError, match=r"2 columns, one for each input \(x, y\), got 3"):
        circuit.forward(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"2 columns, .* got 5"):
        circuit(np.ones(5))
    with pytest.raises(ValueError, match=r"1 column, one for each input \(inputs\[0\]\), got 2"):
        Circuit(Unit(1.0).exp())([1.0, 2.0])
    with pytest.raises(ValueError, match="2-D"):
        circuit.forward(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="at least one row"):
        circuit.forward(np.ones((0, 2)))
    with pytest.raises(TypeError, match="real numbers"):
        circuit.forward([["a", "b"]])
    with pytest.raises(TypeError, match="n_jobs must be an integer"):
        Circuit(f, [x, y], n_jobs="2").forward([[1.0, 2.0]])
    with pytest.raises(ValueError, match="kind must be one of 'svg', 'matplotlib', got 'png'"):
        circuit.draw("png")


def test_constants_stay_as_they_were_written():
    f = 3.0 * Unit(2.0)
    constant = f.inputs[0]
    assert constant.is_constant
    with pytest.raises(AttributeError, match="a number that was written into an expression"):
        constant.value = 7.0
    assert Circuit(f).forward() == f.forward() == 6.0


@pytest.mark.parametrize("bad", ["1", Decimal(1), None, 1j, np.ones(1), np.array(2.0)], ids=repr)
def test_grad_is_a_number(bad):
    u = Unit(1.0)
    with pytest.raises(TypeError, match="grad must be a real number"):
        u.grad = bad
    with pytest.raises(TypeError, match="value must be a real number"):
        u.value = bad
    assert Unit(np.True_).value == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_steps_are_finite(bad):
    f, (a, *_) = neuron()
    circuit = Circuit(f)
    f.backward()
    circuit.forward()
    for thing in (f, circuit):
        with pytest.raises(ValueError, match="step_size must be a finite number"):
            thing.step(bad)
    assert a.value == 1.0
    # What comes back is a value like others, however it came about.
    circuit.backward(bad)
    f.backward(bad)
    assert not np.isfinite(a.grad)
    circuit.forward(np.ones((2, 5)))
    assert not np.isfinite(circuit.backward(bad)).all()
    circuit.forward()
    np.testing.assert_array_equal(circuit.backward(np.array(2.0)), circuit.backward([2.0]))


def test_errors_name_what_is_no_sequence():
    f, (_, _, _, x, _) = neuron()
    for inputs in (x, 5):
        with pytest.raises(
            TypeError, match="an item of inputs must be a Unit, and there must be a sequence"
        ):
            Circuit(f, inputs)
    with pytest.raises(
        TypeError, match="an input of DotGate must be a Unit, and there must be a sequence"
    ):
        DotGate(x, x)
    with pytest.raises(
        TypeError, match=r"an item of first must be a Unit, .* a sequence of them, got int"
    ):
        dot(5, [x])
    circuit = Circuit(f)
    with pytest.raises(ValueError, match="X must be a rectangular array of numbers"):
        circuit.forward([[1, 2], [3]])
    for X in ([], [[]], np.ones((0, 5))):
        with pytest.raises(ValueError, match="X must "):
            circuit.forward(X)
    for X in (Unit(1.0), 5.0, "12345", [x] * 5):
        with pytest.raises((TypeError, ValueError), match="X must "):
            circuit.forward(X)


def test_circuit_before_forward():
    circuit = Circuit(neuron()[0])
    with pytest.raises(ValueError, match=r"backward needs values: call forward\(\) first"):
        circuit.backward()
    with pytest.raises(ValueError, match=r"step needs values: call forward\(\) first"):
        circuit.step(0.1)


def test_upstream_that_does_not_fit():
    f, (*_, x, y) = neuron()
    circuit = Circuit(f, [x, y])
    circuit.forward(np.ones((4, 2)))
    for upstream in (np.ones(3), np.ones((4, 1)), ["a"] * 4, None):
        with pytest.raises(ValueError, match=r"upstream must be a number or have shape \(4,\)"):
            circuit.backward(upstream)
    circuit.forward()
    with pytest.raises(ValueError, match=r"upstream must be a number or have shape \(1,\)"):
        circuit.backward([1.0, 2.0])
    with pytest.raises(TypeError, match="step_size must be a number, got str"):
        circuit.step("1")


def test_gradient_checks_work_on_circuits(rng):
    f, _ = neuron()
    circuit = Circuit(f)
    point = np.array([1.0, -1.0, 2.0, 3.0, -3.0])
    assert check_gradient(circuit, point).passed
    assert check_gradient(circuit, point, n_jobs=2).passed
    np.testing.assert_allclose(numerical_gradient(circuit, point), circuit(point)[1], rtol=1e-8)
    u, v = Unit(0.0), Unit(0.0)
    every = (u * v + 2.0) ** 3 / (u.exp() + 1.0) - (v * v + 1.0).log() ** u + u.max(v).tanh()
    circuit = Circuit(every + (u - v).relu() + (-v).sigmoid() + 2**u)
    assert check_gradient(circuit, [0.3, 0.8], rtol=1e-6).passed
    a, b = Unit(0.0), Unit(0.0)
    report = check_gradient(Circuit(a.max(b)), [1.0, 1.0])
    assert report.passed
    assert report.kinks.all()


def test_optimizers_take_circuits():
    x, y = Unit(0.0), Unit(0.0)
    circuit = Circuit((x - 3.0) ** 2 + (y + 1.0) ** 2)
    result = gradient_descent(circuit, [0.0, 0.0], step_size=0.1, max_iter=200)
    np.testing.assert_allclose(result.x, [3.0, -1.0], atol=1e-6)
    result = scipy.optimize.minimize(circuit, [0.0, 0.0], jac=True)
    np.testing.assert_allclose(result.x, [3.0, -1.0], atol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(copied, rng):
    for seed in range(5):
        steps = random_steps(np.random.default_rng(seed), 4, 60)
        f, leaves = build([*steps, ("multiply", 63, 63)], rng.standard_normal(4))
        f = f + 2.5 * f**3 - f**2
        f.backward()
        f.name = "loss"
        circuit = Circuit(f, [leaf for leaf in Circuit(f).inputs if leaf in leaves[2:]], n_jobs=1)
        twin = copied(circuit)
        assert twin.draw() == circuit.draw()
        assert twin.output is not f
        assert (twin.output.name, twin.output.grad, twin.n_jobs) == ("loss", 1.0, 1)
        X = rng.standard_normal((9, len(circuit.inputs)))
        assert_same(twin.forward(X), circuit.forward(X))
        assert_same(twin.backward(), circuit.backward())
        assert_same(grads(twin.parameters), grads(circuit.parameters))
        assert_same(twin.forward(), circuit.forward())


def test_units_are_not_copied_by_themselves():
    for unit in (Unit(1.0), Unit(1.0) * 2):
        for copied in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=r"Circuit\(unit\) can"):
                copied(unit)


def test_concurrent_calls(rng):
    steps = random_steps(rng, 3, 500, TAME)
    circuit = Circuit(build(steps, np.zeros(3))[0], n_jobs=2)
    points = rng.standard_normal((20, len(circuit.inputs)))
    X = rng.standard_normal((5000, len(circuit.inputs)))
    expected = [circuit(point) for point in points], circuit(X)
    outcomes = []

    def work():
        for _ in range(3):
            found = [circuit(point) for point in points], circuit(X)
            outcomes.append(
                all(
                    a == b and (c == d).all()
                    for (a, c), (b, d) in zip(found[0], expected[0], strict=True)
                )
                and all((a == b).all() for a, b in zip(found[1], expected[1], strict=True))
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [True] * 12


def test_concurrent_expressions_of_the_same_units():
    leaves = [Unit(0.5 + i) for i in range(40)]

    def chain(order):
        f = leaves[order[0]]
        for i in order[1:]:
            f = (f + leaves[i]).tanh() * leaves[i]
        return f

    orders = [np.random.default_rng(seed).permutation(40) for seed in range(4)]
    expected = [chain(order).forward() for order in orders]
    found = [[] for _ in orders]

    def work(order, values):
        for _ in range(200):
            values.append(chain(order).forward())

    threads = [threading.Thread(target=work, args=pair) for pair in zip(orders, found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[value] * 200 for value in expected]


def test_runs_on_any_instruction_set_after_it_was_compiled(isa, rng):
    """The kernels are looked up with each run."""
    f, _ = neuron()
    assert f.forward() == pytest.approx(0.880797077977882, rel=1e-15)


# ---- pictures ------------------------------------------------------------------------------------


def svg_of(f):
    return ElementTree.fromstring(Circuit(f).draw())


def texts_of(svg, color):
    """The texts of one color, or all."""
    found = svg.iter("{http://www.w3.org/2000/svg}text")
    return [e.text for e in found if color in (None, e.get("fill"))]


def test_svg_says_it_all():
    f, _ = neuron()
    f.backward()
    svg = svg_of(f)
    values, gradients = (
        texts_of(svg, color) for color in (drawing.VALUE_COLOR, drawing.GRADIENT_COLOR)
    )
    assert sorted(values) == sorted(["1", "2", "−3", "−1", "3", "−1", "6", "5", "2", "0.8808"])
    assert gradients.count("0.105") == 6
    assert {"−0.105", "0.315", "0.21", "1"} < set(gradients)
    symbols = texts_of(svg, drawing.INK)
    assert sorted(symbols) == sorted(["a", "b", "c", "x", "y", "×", "×", "+", "+", "σ"])


def test_picture_shows_the_last_run_of_its_own():
    f, (a, *_) = neuron()
    circuit = Circuit(f)
    f.backward()
    assert {"0.8808", "0.315"} <= set(texts_of(ElementTree.fromstring(circuit.draw()), None))
    a.value = 5.0
    circuit.forward()
    circuit.backward()
    assert f.value == pytest.approx(0.8808, abs=5e-5)
    shown = set(texts_of(ElementTree.fromstring(circuit.draw()), None))
    assert "0.1192" in shown  # sigmoid(5 * -1 + 2 * 3 - 3)
    assert "0.8808" not in shown
    a.value = 1.0
    circuit.forward()  # gradients of another forward are not shown beside its values
    assert texts_of(ElementTree.fromstring(circuit.draw()), drawing.GRADIENT_COLOR) == []
    circuit.backward()
    assert texts_of(ElementTree.fromstring(circuit.draw()), drawing.GRADIENT_COLOR)
    circuit.forward(np.ones((2, 5)))  # rows: what the units have
    assert "0.8808" in texts_of(ElementTree.fromstring(circuit.draw()), None)


def test_names_of_outputs_are_drawn():
    f, (_, _, _, x, _) = neuron()
    f.name, f.inputs[0].name, x.name = "spike", "sum", None
    shown = texts_of(svg_of(f), drawing.INK)
    assert sorted(shown) == sorted(["a", "b", "c", "y", "×", "×", "+", "+", "σ", "spike", "sum"])


@pytest.mark.parametrize("bad", ["\x00", "a\nb", "\ud800", "\x1b[1m", "\uffff", "\x85"])
def test_names_that_no_file_can_hold(bad):
    f = Unit(1.0, name=bad) * Unit(2.0, name="b")
    f.name = bad
    svg = svg_of(f)
    svg_text = Circuit(f).draw()
    assert svg_text.encode()
    assert "\N{REPLACEMENT CHARACTER}" in texts_of(svg, drawing.INK)[1]


def test_names_are_escaped_and_constants_have_no_gradient():
    svg = svg_of(Unit(1.0, name="<w & b>") * 2.0)
    assert "<w & b>" in texts_of(svg, drawing.INK)
    assert len(texts_of(svg, drawing.GRADIENT_COLOR)) == 2


def test_every_gate_has_a_symbol():
    for gate in GATES:
        f = APPLY[gate](Unit(1.0), Unit(2.0))
        assert texts_of(svg_of(f), drawing.INK) == [drawing.SYMBOLS.get(gate, gate)]


def test_notebooks():
    f, _ = neuron()
    circuit = Circuit(f)
    assert circuit._repr_svg_() == circuit.draw() == circuit.draw()._repr_svg_()
    for _ in range(module.MAX_UNITS_SHOWN):
        f = -f
    assert Circuit(f)._repr_svg_() is None


def test_unit_alone_can_be_drawn():
    assert texts_of(svg_of(Unit(1.5, name="x")), drawing.VALUE_COLOR) == ["1.5"]


def test_matplotlib_figure(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: there is no figure")
    f, _ = neuron()
    f.backward()
    figure = Circuit(f).draw("matplotlib")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"0.8808", "−0.105", "σ", "a"} <= set(texts)
    figure.savefig(tmp_path / "circuit.png")
    pytest.importorskip("matplotlib.pyplot").close(figure)


def test_figure_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: pip install .*\[plot\]"):
        Circuit(neuron()[0]).draw("matplotlib")


def boxes_of(picture):
    """The boxes of all numbers, names and gates: (left, top, right, bottom)."""
    boxes = []
    half = drawing.FONT_SIZE / 2
    for x, y, text, _ in picture.numbers:
        width = drawing.text_width(text) / 2
        boxes.append((x - width, y - half, x + width, y + half))
    for x, y, text in picture.names:
        boxes.append((x - drawing.bold_width(text), y - half, x, y + half))
    for x, y, text in picture.gate_names:
        width = drawing.bold_width(text) / 2
        boxes.append((x - width, y - half, x + width, y + half))
    numbers = [box for box in boxes if box[0] < box[2]]
    gates = [
        (x - w, y - drawing.GATE_RADIUS, x + w, y + drawing.GATE_RADIUS)
        for x, y, w, _ in picture.gates
    ]
    return numbers, gates


def points_of(picture):
    t = np.linspace(0, 1, 60)
    for x0, y0, x1, y1 in picture.lines:
        yield x0 + t * (x1 - x0), y0 + t * (y1 - y0)
    for x0, y0, x1, y1 in picture.curves:
        middle = (x0 + x1) / 2
        bend = 3 * t**2 * (1 - t) + t**3
        yield (
            x0 * (1 - t) ** 3 + middle * 3 * t * (1 - t) + x1 * t**3,
            y0 + bend * (y1 - y0),
        )


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 60))
@settings(max_examples=12)
def test_numbers_overlap_nothing(seed, n_leaves, n_steps):
    rng = np.random.default_rng(seed)
    f, _ = build(random_steps(rng, n_leaves, n_steps), 1e4 * rng.standard_normal(n_leaves))
    units = Circuit(f)._expression.all_units
    for unit in units:
        unit.name = [None, "q", "MAXIMUM", "a longer name", "重み"][rng.integers(5)]
    numbers = 1e4 * rng.standard_normal((2, len(units)))
    layers = drawing.order_layers(drawing.make_places(units, *numbers))
    drawing.set_heights(layers)
    picture = drawing.make_picture(layers)
    numbers, gates = boxes_of(picture)
    boxes = np.array(numbers + gates)
    for i, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= picture.width
        assert bottom <= picture.height
        apart = (
            (boxes[:, 0] >= right)
            | (boxes[:, 2] <= left)
            | (boxes[:, 1] >= bottom)
            | (boxes[:, 3] <= top)
        )
        apart[i] = True
        assert apart.all()
    for x, y in points_of(picture):
        for left, top, right, bottom in numbers:
            assert not ((x > left) & (x < right) & (y > top) & (y < bottom)).any()


def test_trees_are_drawn_without_crossings():
    def tree(depth):
        return Unit(1.0) if depth == 0 else tree(depth - 1) * tree(depth - 1)

    units = Circuit(tree(5))._expression.all_units
    layers = drawing.order_layers(drawing.make_places(units, np.ones(len(units)), None))
    assert drawing.count_crossings(layers) == 0
    assert [len(layer) for layer in layers] == [32, 16, 8, 4, 2, 1]
