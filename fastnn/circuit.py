"""Scalar back-propagation: units, gates, the expressions that they make up, and compiled circuits.

Expressions are written with operators on units, evaluated while they are written, and
differentiated by ``f.backward()``. `Circuit` compiles one, to evaluate it again and again, for one
row of inputs or for many. Gates can be driven by hand as well, one by one.

Gradients follow the rules of each gate: add passes on what comes back to it, multiply swaps its
inputs, max routes to the larger one. What comes back to a unit along several ways is summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _validation
from ._core._threads import effective_n_threads
from ._core.circuit._units import Expression, Unit, evaluate, make_gate, propagate

__all__ = [
    "AddGate",
    "Circuit",
    "DivideGate",
    "DotGate",
    "ExpGate",
    "LogGate",
    "MaxGate",
    "MultiplyGate",
    "NegateGate",
    "PowerGate",
    "ReluGate",
    "SigmoidGate",
    "SubtractGate",
    "TanhGate",
    "Unit",
    "dot",
]

# Above so many units a notebook shows a circuit's text, not its picture.
MAX_UNITS_SHOWN = 300


# ---- gates, one by one ---------------------------------------------------------------------------


class Gate:
    """A gate that is driven by hand: `forward` evaluates it, `backward` goes one gate back.

    Parameters
    ----------
    *inputs : Unit
        If given, the gate is evaluated at once.

    Attributes
    ----------
    inputs : tuple of Unit
    output : Unit or None
        None before the first `forward`.
    """

    inputs: tuple[Unit, ...]
    output: Unit | None
    kind: ClassVar[str | None] = None
    n_inputs: ClassVar[int] = 2

    def __init__(self, *inputs: Unit) -> None:
        self.inputs, self.output = (), None
        if inputs:
            self.forward(*inputs)

    def forward(self, *inputs: Unit) -> Unit:
        """Evaluate the gate.

        Parameters
        ----------
        *inputs : Unit
            None at all, or those that it has: it is evaluated again, and its output is the same
            unit, with the new value and a `grad` of 0. Others: it has a new output.

        Returns
        -------
        Unit
            The output.

        Raises
        ------
        TypeError
            If an input is no Unit, or there is another number of them than the gate has.
        ValueError
            If an input depends on the gate's own output, which would be a cycle, or none was given
            so far.
        """
        if not inputs:
            self._require_forward()
            inputs = self.inputs
        else:
            inputs = self._check_inputs(inputs)
        if self.output is None or not _are_same(inputs, self.inputs):
            self._check_cycle(inputs)
            self.inputs, self.output = inputs, self._connect(inputs)
        else:
            self._evaluate()
        return self.output

    def backward(self) -> None:
        """Add to the inputs' `grad`: the output's `grad` times the local derivatives.

        Raises
        ------
        ValueError
            If the gate was not evaluated before.
        """
        self._require_forward()
        propagate(self.output)

    def _connect(self, inputs):
        return make_gate(self.kind, *inputs)

    def _evaluate(self):
        evaluate(self.output)

    def _require_forward(self):
        if self.output is None:
            raise ValueError(
                f"{type(self).__name__} has no inputs yet: call forward(...) with its inputs first"
            )

    def _check_inputs(self, inputs):
        name = type(self).__name__
        if len(inputs) != self.n_inputs:
            raise TypeError(f"{name} takes {_counted(self.n_inputs, 'Unit')}, got {len(inputs)}")
        return _check_units(inputs, f"an input of {name}")

    def _check_cycle(self, inputs):
        if self.output is None:
            return
        for unit in inputs:
            if any(found is self.output for found in Expression(unit).all_units):
                raise ValueError(
                    f"a cycle: an input of {type(self).__name__} depends on its own output; each "
                    "place of a circuit has a gate of its own"
                )

    def __repr__(self):
        values = ", ".join(repr(unit) for unit in self.inputs)
        return f"{type(self).__name__}({values})"


class AddGate(Gate):
    """a + b. What comes back is passed on to both.

    Examples
    --------
    >>> from fastnn.circuit import AddGate, Unit
    >>> gate = AddGate(Unit(-2.0), Unit(5.0))
    >>> gate.output.value
    3.0
    """

    kind = "add"


class SubtractGate(Gate):
    """a - b. What comes back is passed on to a, and negated to b."""

    kind = "subtract"


class MultiplyGate(Gate):
    """a * b. What comes back goes to each input times the other one.

    Examples
    --------
    (x + y) z, gate by gate:

    >>> from fastnn.circuit import AddGate, MultiplyGate, Unit
    >>> x, y, z = Unit(-2.0), Unit(5.0), Unit(-4.0)
    >>> add, multiply = AddGate(), MultiplyGate()
    >>> f = multiply.forward(add.forward(x, y), z)
    >>> f.grad = 1.0
    >>> multiply.backward()
    >>> add.backward()
    >>> f.value, x.grad, y.grad, z.grad
    (-12.0, -4.0, -4.0, 3.0)
    """

    kind = "multiply"


class DivideGate(Gate):
    """a / b."""

    kind = "divide"


class MaxGate(Gate):
    """The larger of a and b. What comes back goes to that one; at a tie, to a."""

    kind = "max"


class PowerGate(Gate):
    """a ** b, with derivatives for both."""

    kind = "power"


class NegateGate(Gate):
    """-a."""

    kind, n_inputs = "negate", 1


class ExpGate(Gate):
    """e ** a."""

    kind, n_inputs = "exp", 1


class LogGate(Gate):
    """The natural logarithm of a."""

    kind, n_inputs = "log", 1


class TanhGate(Gate):
    """The hyperbolic tangent of a."""

    kind, n_inputs = "tanh", 1


class SigmoidGate(Gate):
    """1 / (1 + exp(-a)); the derivative is f (1 - f)."""

    kind, n_inputs = "sigmoid", 1


class ReluGate(Gate):
    """a where it is positive, else 0; the derivative at 0 is 0."""

    kind, n_inputs = "relu", 1


class DotGate(Gate):
    """The sum of products of two sequences of units: ``DotGate(weights, inputs)``.

    Made of multiply and add gates, which `backward` goes back through.

    Examples
    --------
    >>> from fastnn.circuit import DotGate, Unit
    >>> weights, inputs = [Unit(2.0), Unit(-3.0)], [Unit(-1.0), Unit(-2.0)]
    >>> gate = DotGate(weights, inputs)
    >>> gate.output.grad = 1.0
    >>> gate.backward()
    >>> gate.output.value, weights[1].grad, inputs[1].grad
    (4.0, -2.0, -3.0)
    """

    def _check_inputs(self, inputs):
        if len(inputs) != 2:
            raise TypeError(f"DotGate takes two sequences of Units, got {len(inputs)} arguments")
        first, second = (_check_units(units, "an input of DotGate") for units in inputs)
        _check_lengths(first, second)
        return first + second

    def _connect(self, inputs):
        half = len(inputs) // 2
        self._gates = list(_chain(inputs[:half], inputs[half:]))
        return self._gates[-1]

    def _evaluate(self):
        for output in self._gates:
            evaluate(output)

    def backward(self):
        self._require_forward()
        for output in self._gates[:-1]:
            output.grad = 0.0
        for output in reversed(self._gates):
            propagate(output)


def dot(first: Iterable[Unit], second: Iterable[Unit]) -> Unit:
    """Sum of products of two sequences of units, in their order.

    Parameters
    ----------
    first, second : sequences of Unit, of the same length, not empty

    Returns
    -------
    Unit

    Raises
    ------
    TypeError
        If they hold anything but Units.
    ValueError
        If their lengths differ or are 0.

    Examples
    --------
    >>> from fastnn.circuit import Unit, dot
    >>> dot([Unit(1.0), Unit(2.0)], [Unit(3.0), Unit(4.0)]).value
    11.0
    """
    first = _check_units(first, "an item of first")
    second = _check_units(second, "an item of second")
    _check_lengths(first, second)
    *_, total = _chain(first, second)
    return total


def _chain(first, second):
    """Yield the outputs of a dot product's gates, one by one; the last one is its value."""
    total = None
    for a, b in zip(first, second, strict=True):
        product = a * b
        yield product
        if total is not None:
            product = total + product
            yield product
        total = product


# ---- compiled ------------------------------------------------------------------------------------


class Circuit:
    """An expression, compiled to a flat tape that is evaluated without touching its units.

    A circuit can be evaluated at the values of its own units, ``forward()``, or on rows of inputs,
    ``forward(X)``: then each column of X belongs to one of the inputs, and the other units that
    were given their values are parameters, the same in every row. `backward` follows `forward`.

    Results are the same, bit for bit, as those of the expression's own `forward` and `backward`,
    whatever the number of rows and threads.

    Parameters
    ----------
    output : Unit
        The expression.
    inputs : sequence of Unit, optional
        The inputs, in the order of the columns of X. None: all units that were given their values
        (but not numbers that were written into the expression), in the order in which they are met
        when it is read from left to right.
    n_jobs : int, optional
        Threads for many rows, as in scikit-learn; None: all the cores that this process may use.

    Attributes
    ----------
    output : Unit
    inputs : tuple of Unit
    parameters : tuple of Unit
        The other units that were given their values, from left to right.
    n_gates : int

    Raises
    ------
    TypeError
        If `output` or one of `inputs` is no Unit.
    ValueError
        If an input is not part of the expression, is a gate's output, or is there twice.

    Notes
    -----
    Rows are done in blocks that stay in the cache. Beside X and the results, this takes 16 bytes
    for each unit and row of a block of 8 to 128 rows, for each thread, and 256 bytes for each
    parameter. Values of a block are not kept: `backward` evaluates it again.

    A circuit can be pickled and copied, with new units. The copy has yet to be evaluated.

    Examples
    --------
    A neuron on many rows, trained to tell points by the sign of x - y:

    >>> import numpy as np
    >>> from fastnn.circuit import Circuit, Unit
    >>> a, b, c, x, y, sign = (Unit(v) for v in (0.1, 0.2, 0.0, 0.0, 0.0, 0.0))
    >>> likelihood = (sign * (a * x + b * y + c)).sigmoid().log()
    >>> circuit = Circuit(likelihood, inputs=[x, y, sign])
    >>> X = np.random.default_rng(0).standard_normal((500, 2))
    >>> rows = np.column_stack([X, np.sign(X[:, 0] - X[:, 1])])
    >>> for _ in range(200):
    ...     mean = circuit.forward(rows).mean()
    ...     circuit.zero_grad()
    ...     gradient = circuit.backward(np.full(500, 1 / 500))
    ...     circuit.step(10.0)
    >>> a.value > 4 > -4 > b.value
    True
    >>> round(float(mean), 1)
    -0.0

    Called with a point, it returns value and gradient, as checks and optimizers want them:

    >>> value, gradient = Circuit(x * x + 3 * y)([2.0, 1.0])
    >>> value, gradient
    (7.0, array([4., 3.]))
    """

    def __init__(
        self, output: Unit, inputs: Iterable[Unit] | None = None, *, n_jobs: int | None = None
    ) -> None:
        if type(output) is not Unit:
            raise TypeError(f"output must be a Unit, got {type(output).__name__}")
        expression = Expression(output)
        slots = {unit: slot for slot, unit in enumerate(expression.variables)}
        if inputs is not None:
            slots = {unit: slots[unit] for unit in _check_inputs(inputs, slots)}
        self._set_up(expression, np.array(list(slots.values()), np.int32), n_jobs)

    def _set_up(self, expression, input_slots, n_jobs):
        self._expression, self._input_slots, self.n_jobs = expression, input_slots, n_jobs
        variables = expression.variables
        self._is_parameter = np.ones(len(variables), np.uint8)
        self._is_parameter[input_slots] = 0
        self._has_all_inputs = np.array_equal(input_slots, np.arange(len(variables)))
        self.output = expression.output
        self.inputs = tuple(variables[slot] for slot in input_slots)
        self.parameters = tuple(
            unit for unit, chosen in zip(variables, self._is_parameter, strict=True) if chosen
        )
        self._rows = None  # of the last forward, or _OWN_VALUES; None before it
        self._has_gradients = False  # whether backward has followed at these values

    def __getstate__(self):
        return self._expression, self._input_slots, self.n_jobs

    def __setstate__(self, state):
        self._set_up(*state)

    @property
    def n_gates(self) -> int:
        return self._expression.tape.n_gates

    @overload
    def forward(self, X: Sequence[float] | None = None) -> float: ...
    @overload
    def forward(self, X: ArrayLike) -> float | NDArray[np.float64]: ...
    def forward(self, X: ArrayLike | None = None) -> float | NDArray[np.float64]:
        """Evaluate the circuit.

        Parameters
        ----------
        X : array-like of shape (n_inputs,) or (n, n_inputs), optional
            The inputs' values, taken as float64; NaN and infinity are values like others. It must
            not change before `backward`. None: the values that the units have.

        Returns
        -------
        float, or ndarray of shape (n,) for a two-dimensional X
            The values. Units are left as they are.

        Raises
        ------
        TypeError, ValueError
            If X is no array of real numbers, or its columns do not fit the inputs.
        """
        if X is None:
            self._rows, self._has_gradients = _OWN_VALUES, False
            return self._expression.forward()
        rows, is_single = self._check_rows(X)
        values, variables = np.empty(len(rows)), self._read_variables()
        self._expression.tape.evaluate_rows(
            rows, self._input_slots, variables, values, effective_n_threads(self.n_jobs)
        )
        self._rows, self._has_gradients = (rows, is_single, variables), False
        return float(values[0]) if is_single else values

    def backward(self, upstream: ArrayLike = 1.0) -> NDArray[np.float64]:
        """Differentiate the circuit where `forward` has evaluated it last.

        Derivatives are added to the `grad` of the units whose values `forward` has read: of the
        parameters, summed over the rows, and without X of the inputs, too. They add up until
        `zero_grad`.

        Parameters
        ----------
        upstream : float or array-like of shape (n,), default=1.0
            What the derivatives are multiplied by, for all rows or for each: the derivative of what
            is made of the circuit's values with respect to these.

        Returns
        -------
        ndarray of shape (n, n_inputs), or (n_inputs,) if X was one-dimensional or there was none
            The derivatives with respect to the inputs.

        Raises
        ------
        TypeError, ValueError
            If `forward` was not called before, or `upstream` does not fit its rows.
        """
        self._require_forward("backward")
        if self._rows is _OWN_VALUES:
            self._expression.backward(float(_check_upstream(upstream, 1)[0]))
            self._has_gradients = True
            gradient = self._expression.tape.variable_gradients()
            return gradient if self._has_all_inputs else gradient[self._input_slots]
        rows, is_single, variables = self._rows
        upstream = _check_upstream(upstream, len(rows))
        _, dX, sums = self._differentiate(rows, variables, upstream)
        self._expression.add_to_grads(sums, self._is_parameter)
        return dX[0] if is_single else dX

    @overload
    def __call__(self, x: Sequence[float]) -> tuple[float, NDArray[np.float64]]: ...
    @overload
    def __call__(self, x: ArrayLike) -> tuple[float | NDArray[np.float64], NDArray[np.float64]]: ...
    def __call__(self, x: ArrayLike) -> tuple[float | NDArray[np.float64], NDArray[np.float64]]:
        """Return value and gradient at a point, or at each row, and leave all else as it is.

        Safe to be called from several threads at once.

        Parameters
        ----------
        x : array-like of shape (n_inputs,) or (n, n_inputs)

        Returns
        -------
        value : float, or ndarray of shape (n,)
        gradient : ndarray of the shape of `x`, float64
            The derivatives with respect to the inputs.
        """
        rows, is_single = self._check_rows(x)
        variables = self._read_variables()
        if is_single:
            variables[self._input_slots] = rows[0]
            value, gradient = self._expression.tape.value_and_gradient(variables)
            return value, gradient if self._has_all_inputs else gradient[self._input_slots]
        values, dX, _ = self._differentiate(rows, variables, np.ones(1))
        return values, dX

    def zero_grad(self) -> None:
        """Set the `grad` of all units to 0."""
        self._expression.zero_gradients()

    def step(self, step_size: float) -> None:
        """Move the units whose values `forward` has read last along their `grad`.

        ``u.value += step_size * u.grad``, for the parameters, and for the inputs, too, if `forward`
        was called without X. A positive step makes values larger, a negative one smaller.

        Parameters
        ----------
        step_size : float

        Raises
        ------
        ValueError
            If `forward` was not called before.
        """
        self._require_forward("step")
        chosen = None if self._rows is _OWN_VALUES else self._is_parameter
        self._expression.move_variables(_validation.check_number(step_size, "step_size"), chosen)

    def draw(self, kind: Literal["svg", "matplotlib"] = "svg") -> Any:
        """Draw the circuit, from left to right.

        Values are in green above the wires, gradients in red below: those of the last ``forward()``
        without X and of the `backward` that has followed it, or else those that the units have.
        Names of units are in bold, beside or above them.

        Parameters
        ----------
        kind : {"svg", "matplotlib"}, default="svg"

        Returns
        -------
        str or matplotlib.figure.Figure
            The text of an SVG file, which notebooks show as a picture, or a figure.

        Raises
        ------
        ImportError
            If matplotlib is wanted and not installed.

        Examples
        --------
        >>> from fastnn.circuit import Circuit, Unit
        >>> f = (Unit(-2.0, name="x") + Unit(5.0, name="y")) * Unit(-4.0, name="z")
        >>> f.backward()
        >>> Circuit(f).draw().startswith("<svg")
        True
        """
        from ._circuit_drawing import draw

        kind = _validation.check_name(kind, ("svg", "matplotlib"), "kind")
        units = self._expression.all_units
        if self._rows is _OWN_VALUES:
            values, gradients = self._expression.tape.slots()
            if not self._has_gradients:
                gradients = None
        else:
            values, gradients = [unit.value for unit in units], [unit.grad for unit in units]
        return draw(units, values, gradients, kind)

    def _repr_svg_(self):
        too_large = self._expression.tape.n_slots > MAX_UNITS_SHOWN
        return None if too_large else self.draw()

    def __repr__(self):
        gates = _counted(self.n_gates, "gate")
        return f"<Circuit of {gates} with inputs ({self._input_names()})>"

    def _input_names(self):
        names = [unit.name or f"inputs[{i}]" for i, unit in enumerate(self.inputs[:10])]
        return ", ".join(names + (["..."] if len(self.inputs) > 10 else []))

    def _read_variables(self):
        values = np.empty(len(self._is_parameter))
        self._expression.read_variables(values)
        return values

    def _differentiate(self, rows, variables, upstream):
        values, dX = np.empty(len(rows)), np.empty(rows.shape)
        sums = self._expression.tape.differentiate_rows(
            rows,
            self._input_slots,
            variables,
            upstream,
            values,
            dX,
            effective_n_threads(self.n_jobs),
        )
        return values, dX, sums

    def _check_rows(self, X):
        """Return X in two dimensions, and whether it had one."""
        try:
            is_single = np.ndim(X) == 1
        except ValueError:  # ragged: told below
            is_single = False
        if is_single and np.size(X):
            X = np.reshape(X, (1, -1))
        rows = _validation.check_rows(X, "X")
        if rows.shape[1] != len(self.inputs):
            raise ValueError(
                f"X must have {_counted(len(self.inputs), 'column')}, one for each input "
                f"({self._input_names()}), got {rows.shape[1]}"
            )
        return rows.astype(np.float64, copy=False), is_single

    def _require_forward(self, what):
        if self._rows is None:
            raise ValueError(f"{what} needs values: call forward() first")


_OWN_VALUES = object()


def _counted(n, what):
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _are_same(units, others):
    return len(units) == len(others) and all(a is b for a, b in zip(units, others, strict=True))


def _check_units(units, what):
    try:
        units = tuple(units)
    except TypeError:
        raise TypeError(
            f"{what} must be a Unit, and there must be a sequence of them, got "
            f"{type(units).__name__}"
        ) from None
    for unit in units:
        if type(unit) is not Unit:
            raise TypeError(
                f"{what} must be a Unit, got {type(unit).__name__}; a number becomes one by "
                "Unit(number)"
            )
    return units


def _check_lengths(first, second):
    if len(first) != len(second) or not first:
        raise ValueError(
            "a dot product takes two sequences of the same length of at least 1, got "
            f"{len(first)} and {len(second)}"
        )


def _check_inputs(inputs, slots):
    inputs = _check_units(inputs, "an item of inputs")
    seen = set()
    for i, unit in enumerate(inputs):
        name = f"inputs[{i}] ({unit})"
        if unit.gate is not None:
            raise ValueError(f"{name} must be given its value, not be the output of a gate")
        if unit not in slots:
            raise ValueError(f"{name} must be part of the expression, but it does not depend on it")
        if unit in seen:
            raise ValueError(f"{name} must be there once, got it twice")
        seen.add(unit)
    return inputs


def _check_upstream(upstream, n):
    upstream = np.asarray(upstream)
    if upstream.dtype.kind not in "biuf" or upstream.shape not in ((), (n,)):
        raise ValueError(
            f"upstream must be a number or have shape ({n},), a number for each row, got an array "
            f"of dtype {upstream.dtype} and shape {upstream.shape}"
        )
    return np.atleast_1d(upstream).astype(np.float64)
