"""Wires and their gates: expressions that are evaluated while they are written, and laid flat.

A unit knows the gate that it comes out of, as a kind and two inputs. These are set once, when the
unit is made, so that expressions cannot have cycles. Chains of a million units are common, hence
nothing here recurses: not the order of evaluation, and not the deallocation either.
"""

from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cython cimport final
from libc.math cimport isfinite
from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from numbers import Real

import numpy as np

from .._dispatch cimport (
    FNN_ADD,
    FNN_CONSTANT_POWER,
    FNN_DIVIDE,
    FNN_EXP,
    FNN_LOG,
    FNN_MAX,
    FNN_MULTIPLY,
    FNN_N_GATES,
    FNN_NEGATE,
    FNN_POWER,
    FNN_RELU,
    FNN_SIGMOID,
    FNN_SQUARE,
    FNN_SUBTRACT,
    FNN_TANH,
    active_kernels,
)
from .._threads import RenewedLock
from ._tape cimport Tape

cdef extern from *:
    """
    #if defined(Py_GIL_DISABLED)
    #define FNN_FREE_THREADED 1
    #else
    #define FNN_FREE_THREADED 0
    #endif
    """
    const bint FNN_FREE_THREADED

cdef extern from "Python.h":
    ctypedef struct PyObject:
        pass
    void Py_INCREF(PyObject *)
    void Py_DECREF(PyObject *)
    Py_ssize_t Py_REFCNT(PyObject *)

cdef enum:
    # Kinds of units; that of a gate's output is FIRST_GATE + the kernel table's kind.
    VARIABLE
    CONSTANT
    FIRST_GATE
    # Slots during a search: not seen yet, and seen but with inputs to be done first.
    UNSEEN = 0
    OPEN = -1
    # Slots are int32.
    MAX_UNITS = 0x7FFFFFFE

# Held while units' slots are in use, where no lock of the interpreter is: expressions share units.
cdef object slots_lock = RenewedLock()

# In the kernel table's order.
GATES = (
    "add",
    "subtract",
    "multiply",
    "divide",
    "max",
    "power",
    "constant power",
    "square",
    "negate",
    "exp",
    "log",
    "tanh",
    "sigmoid",
    "relu",
)


@final
cdef class Unit:
    """A wire of a circuit: a value, and the derivative of the circuit's output with respect to it.

    Operators and methods put units together: ``+ - * / **`` with units and plain numbers on either
    side, ``-u``, and `exp`, `log`, `tanh`, `sigmoid`, `relu` and `max`. Each evaluates its gate at
    once and returns the gate's output, another unit.

    Values follow IEEE arithmetic, as NumPy's do: log(0) is -inf, 0 / 0 is NaN, and nothing raises.
    `exp` and `log` are within 1 unit in the last place of the exact value, `tanh` and `sigmoid`
    within 3, for arguments of any size.

    Parameters
    ----------
    value : float
    grad : float, default=0.0
    name : str, optional
        For drawings and messages.

    Attributes
    ----------
    value : float
        Can be set where the unit is no gate's output and no constant. What depends on it changes
        with the next `forward`.
    grad : float
        `backward` adds to it until `zero_grad` sets it to 0.
    name : str or None
    gate : str or None
        What gate the unit comes out of; None for a unit that was given its value.
    inputs : tuple of Unit
        Of this gate.
    is_constant : bool
        Whether the unit is a number that was written into an expression. It has no derivative.

    Raises
    ------
    TypeError
        If `value` or `grad` is no real number.

    Examples
    --------
    A neuron:

    >>> from fastnn.circuit import Unit
    >>> a, b, c, x, y = Unit(1.0), Unit(2.0), Unit(-3.0), Unit(-1.0), Unit(3.0)
    >>> f = (a * x + b * y + c).sigmoid()
    >>> f.backward()
    >>> round(f.value, 4), round(a.grad, 3), round(y.grad, 3)
    (0.8808, -0.105, 0.21)

    A small step along the gradient makes f larger:

    >>> round(f.step(0.01), 5)
    0.88255
    """

    cdef double _value
    cdef double _grad
    cdef public str name
    # Owned references, so that deallocation can take them away first; NULL where there is none.
    cdef PyObject *left
    cdef PyObject *right
    # In a search 1 + the unit's place; where units are released, the next one to go.
    cdef Py_ssize_t slot
    cdef uint8_t kind

    def __init__(self, value, grad=0.0, name=None):
        if self.left != NULL:
            raise TypeError("a gate's output cannot be made again as a unit of its own")
        self._value = number(value, "value")
        self._grad = number(grad, "grad")
        self.name = name

    def __dealloc__(self):
        if self.left != NULL:
            release_inputs(self)

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        if self.left != NULL:
            raise AttributeError(
                f"the value of {describe(self)} follows from its inputs; set theirs and call "
                "forward()"
            )
        if self.kind == CONSTANT:
            raise AttributeError(
                "the value of a number that was written into an expression cannot be set; what is "
                "to change is a Unit"
            )
        self._value = number(value, "value")

    @property
    def grad(self):
        return self._grad

    @grad.setter
    def grad(self, grad):
        self._grad = number(grad, "grad")

    @property
    def gate(self):
        return None if self.left == NULL else GATES[self.kind - FIRST_GATE]

    @property
    def is_constant(self):
        return self.kind == CONSTANT

    @property
    def inputs(self):
        if self.left == NULL:
            return ()
        if self.right == NULL:
            return (<Unit>self.left,)
        return (<Unit>self.left, <Unit>self.right)

    def __reduce__(self):
        raise TypeError(
            "a Unit cannot be pickled or copied by itself: Circuit(unit) can, with all that the "
            "unit depends on"
        )

    def __repr__(self):
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Unit({self._value:.6g}, grad={self._grad:.6g}{name})"

    def __add__(self, other):
        return combine(FNN_ADD, self, other)

    def __radd__(self, other):
        return combine_reflected(FNN_ADD, other, self)

    def __sub__(self, other):
        return combine(FNN_SUBTRACT, self, other)

    def __rsub__(self, other):
        return combine_reflected(FNN_SUBTRACT, other, self)

    def __mul__(self, other):
        return combine(FNN_MULTIPLY, self, other)

    def __rmul__(self, other):
        return combine_reflected(FNN_MULTIPLY, other, self)

    def __truediv__(self, other):
        return combine(FNN_DIVIDE, self, other)

    def __rtruediv__(self, other):
        return combine_reflected(FNN_DIVIDE, other, self)

    def __pow__(self, exponent, modulus):
        cdef Unit constant
        if modulus is not None:
            return NotImplemented
        if type(exponent) is Unit:
            return make_unit(FNN_POWER, self, <Unit>exponent)
        constant = make_constant(exponent)
        if constant is None:
            return NotImplemented
        if constant._value == 2.0:
            return make_unit(FNN_SQUARE, self, None)
        return make_unit(FNN_CONSTANT_POWER, self, constant)

    def __rpow__(self, base, modulus):
        if modulus is not None:
            return NotImplemented
        return combine_reflected(FNN_POWER, base, self)

    def __neg__(self):
        return make_unit(FNN_NEGATE, self, None)

    def __pos__(self):
        return self

    def max(self, other):
        """Return the larger of two, a unit; its gradient goes to that one, at a tie to this one.

        NaN is larger than any number, as in NumPy.
        """
        result = combine(FNN_MAX, self, other)
        if result is NotImplemented:
            raise TypeError(f"other must be a Unit or a number, got {type(other).__name__}")
        return result

    def exp(self):
        """Return e to this power, a unit."""
        return make_unit(FNN_EXP, self, None)

    def log(self):
        """Return the natural logarithm, a unit."""
        return make_unit(FNN_LOG, self, None)

    def tanh(self):
        """Return the hyperbolic tangent, a unit."""
        return make_unit(FNN_TANH, self, None)

    def sigmoid(self):
        """Return 1 / (1 + exp(-u)), a unit."""
        return make_unit(FNN_SIGMOID, self, None)

    def relu(self):
        """Return this where it is positive, else 0, a unit; the derivative at 0 is 0."""
        return make_unit(FNN_RELU, self, None)

    def forward(self):
        """Evaluate again all that this unit depends on, after values were set.

        Returns
        -------
        float
            The new value.
        """
        cdef Expression expression = Expression(self)
        expression.read_values()
        expression.tape.run_forward(active_kernels().gates, expression.tape.values)
        expression.write_values()
        return self._value

    def backward(self, upstream=1.0):
        """Add the derivatives of this unit to the `grad` of all units that it depends on.

        Derivatives are those at the present values. Each call adds: after two of them `grad` is
        twice the derivative, for inputs and outputs of gates alike.

        Parameters
        ----------
        upstream : float, default=1.0
            What the derivatives are multiplied by; what this unit's own `grad` grows by.
        """
        cdef double of_output = number(upstream, "upstream")
        cdef Expression expression = Expression(self)
        cdef Tape tape = expression.tape
        expression.read_values()
        tape.run_backward(active_kernels().gates, tape.values, of_output, tape.gradients)
        expression.add_gradients(tape.n_slots)

    def zero_grad(self):
        """Set to 0 the `grad` of this unit and of all that it depends on."""
        Expression(self).zero_gradients()

    def step(self, step_size):
        """Move the units that this one depends on along their `grad`, and evaluate it again.

        ``u.value += step_size * u.grad`` for all that are no gates' outputs. A positive step makes
        this unit larger, a negative one smaller, if it is small enough.

        Parameters
        ----------
        step_size : float

        Returns
        -------
        float
            The new value.

        Raises
        ------
        TypeError, ValueError
            If `step_size` is no finite number.
        """
        cdef double size = number(step_size, "step_size")
        if not isfinite(size):
            raise ValueError(f"step_size must be a finite number, got {size}")
        cdef Expression expression = Expression(self)
        cdef Py_ssize_t slot
        for slot in range(expression.tape.n_variables):
            move(<Unit>expression.units[slot], size)
        return self.forward()


# ---- making units --------------------------------------------------------------------------------


cdef bint is_number(object x) except -1:
    return PyFloat_CheckExact(x) or isinstance(x, (float, int, Real, np.bool_))


cdef double number(object x, str name) except? -1.0:
    if not is_number(x):
        raise TypeError(f"{name} must be a real number, got {type(x).__name__}")
    return PyFloat_AS_DOUBLE(x) if PyFloat_CheckExact(x) else <double>float(x)


cdef Unit make_constant(object x):
    """Return a unit that keeps its value and has no derivative, or None if `x` is no number."""
    if not is_number(x):
        return None
    cdef Unit unit = Unit.__new__(Unit)
    unit.kind = CONSTANT
    unit._value = PyFloat_AS_DOUBLE(x) if PyFloat_CheckExact(x) else <double>float(x)
    return unit


cdef Unit make_unit(int kind, Unit left, Unit right):
    """Return the output of a new gate; `right` is None for gates with one input."""
    cdef Unit unit = Unit.__new__(Unit)
    unit.kind = FIRST_GATE + kind
    unit.left = <PyObject *>left
    Py_INCREF(unit.left)
    if right is not None:
        unit.right = <PyObject *>right
        Py_INCREF(unit.right)
    evaluate_gate(unit)
    return unit


cdef object combine(int kind, Unit left, object right):
    if type(right) is Unit:
        return make_unit(kind, left, <Unit>right)
    cdef Unit constant = make_constant(right)
    return NotImplemented if constant is None else make_unit(kind, left, constant)


cdef object combine_reflected(int kind, object left, Unit right):
    cdef Unit constant = make_constant(left)
    return NotImplemented if constant is None else make_unit(kind, constant, right)


cdef void evaluate_gate(Unit unit) noexcept:
    cdef Unit left = <Unit>unit.left
    cdef Unit right = left if unit.right == NULL else <Unit>unit.right
    active_kernels().gates[unit.kind - FIRST_GATE].forward(
        &left._value, &right._value, 1, &unit._value
    )


cdef void move(Unit unit, double size) noexcept:
    unit._value += size * unit._grad


cdef str describe(Unit unit):
    what = "the unit" if unit.left == NULL else f"the output of a gate ({unit.gate})"
    return what if unit.name is None else f"{what} named {unit.name!r}"


# ---- releasing units -----------------------------------------------------------------------------


cdef void release_inputs(Unit unit) noexcept:
    """Give up references to inputs, and to theirs where these go with them.

    Each unit that nobody else holds loses its inputs before it goes, so that no deallocation leads
    to another one. Their slots link them into a list.
    """
    cdef PyObject *doomed = NULL
    give_up_inputs(unit, &doomed)
    cdef PyObject *first
    while doomed != NULL:
        first = doomed
        doomed = <PyObject *>(<Unit>first).slot
        (<Unit>first).slot = UNSEEN
        if (<Unit>first).left != NULL:
            give_up_inputs(<Unit>first, &doomed)
        Py_DECREF(first)


cdef void give_up_inputs(Unit unit, PyObject **doomed) noexcept:
    give_up(unit.left, doomed)
    if unit.right != NULL:
        give_up(unit.right, doomed)
    unit.left = NULL
    unit.right = NULL


cdef void give_up(PyObject *unit, PyObject **doomed) noexcept:
    if Py_REFCNT(unit) > 1:
        Py_DECREF(unit)
        return
    (<Unit>unit).slot = <Py_ssize_t>doomed[0]
    doomed[0] = unit


# ---- single gates --------------------------------------------------------------------------------


def make_gate(str gate, Unit left not None, Unit right=None):
    """Return the output of a new gate of the kind `gate`, one of `GATES`."""
    return make_unit(GATES.index(gate), left, right)


def evaluate(Unit output not None):
    """Evaluate one gate again; its output's grad starts anew."""
    evaluate_gate(output)
    output._grad = 0.0


def propagate(Unit output not None):
    """Add to the grad of one gate's inputs what goes back to them from its output's grad."""
    cdef Unit left = <Unit>output.left
    cdef Unit right = left if output.right == NULL else <Unit>output.right
    active_kernels().gates[output.kind - FIRST_GATE].backward(
        &left._value, &right._value, &output._value, &output._grad, 1, &left._grad, &right._grad
    )


# ---- whole expressions ---------------------------------------------------------------------------


cdef struct UnitList:
    PyObject **items
    Py_ssize_t size
    Py_ssize_t capacity


cdef int append(UnitList *units, PyObject *unit) except -1:
    cdef PyObject **items
    cdef Py_ssize_t capacity
    if units.size == units.capacity:
        capacity = max(<Py_ssize_t>64, 2 * units.capacity)
        items = <PyObject **>PyMem_Realloc(units.items, capacity * sizeof(PyObject *))
        if items == NULL:
            raise MemoryError()
        units.items = items
        units.capacity = capacity
    units.items[units.size] = unit
    units.size += 1
    return 0


cdef int find_units(PyObject *output, UnitList *found) except -1:
    """Append all that `output` depends on, inputs first; slots become 1 + their places.

    A search in depth with a stack of its own.
    """
    cdef UnitList stack
    cdef Unit unit
    cdef Py_ssize_t place
    memset(&stack, 0, sizeof(stack))
    try:
        append(&stack, output)
        while stack.size:
            unit = <Unit>stack.items[stack.size - 1]
            if unit.slot == UNSEEN:
                unit.slot = OPEN
                if unit.right != NULL and (<Unit>unit.right).slot == UNSEEN:
                    append(&stack, unit.right)
                if unit.left != NULL and (<Unit>unit.left).slot == UNSEEN:
                    append(&stack, unit.left)
            else:
                stack.size -= 1
                if unit.slot == OPEN:
                    append(found, <PyObject *>unit)
                    unit.slot = found.size
        if found.size > MAX_UNITS:
            raise ValueError(f"an expression may have {MAX_UNITS} units, got {found.size}")
    finally:
        for place in range(stack.size):
            (<Unit>stack.items[place]).slot = UNSEEN
        PyMem_Free(stack.items)
    return 0


cdef int sort_units(
    const UnitList *found, int32_t *order, Py_ssize_t *n_variables, Py_ssize_t *n_constants
) except -1:
    """Write the places of units sorted by depth, kind, and place: two counting sorts."""
    cdef Py_ssize_t n = found.size, place, k
    cdef Py_ssize_t[FIRST_GATE + FNN_N_GATES + 1] kind_ends
    cdef int32_t depth = 0
    cdef int32_t *depths = <int32_t *>PyMem_Malloc(2 * n * sizeof(int32_t))
    cdef int32_t *by_kind = depths + n
    cdef Py_ssize_t *depth_ends = NULL
    cdef Unit unit
    try:
        if depths == NULL:
            raise MemoryError()
        memset(kind_ends, 0, sizeof(kind_ends))
        for place in range(n):
            unit = <Unit>found.items[place]
            depths[place] = 0
            if unit.left != NULL:
                depths[place] = 1 + depths[(<Unit>unit.left).slot - 1]
            if unit.right != NULL:
                depths[place] = max(depths[place], 1 + depths[(<Unit>unit.right).slot - 1])
            depth = max(depth, depths[place])
            kind_ends[unit.kind + 1] += 1
        n_variables[0], n_constants[0] = kind_ends[VARIABLE + 1], kind_ends[CONSTANT + 1]
        for k in range(FIRST_GATE + FNN_N_GATES):
            kind_ends[k + 1] += kind_ends[k]
        for place in range(n):
            unit = <Unit>found.items[place]
            by_kind[kind_ends[unit.kind]] = <int32_t>place
            kind_ends[unit.kind] += 1
        depth_ends = <Py_ssize_t *>PyMem_Calloc(depth + 2, sizeof(Py_ssize_t))
        if depth_ends == NULL:
            raise MemoryError()
        for place in range(n):
            depth_ends[depths[place] + 1] += 1
        for k in range(depth + 1):
            depth_ends[k + 1] += depth_ends[k]
        for k in range(n):
            place = by_kind[k]
            order[depth_ends[depths[place]]] = <int32_t>place
            depth_ends[depths[place]] += 1
    finally:
        PyMem_Free(depths)
        PyMem_Free(depth_ends)
    return 0


cdef class Expression:
    """All units that one depends on, in the order of a tape's slots, and this tape.

    Gates are sorted by depth (the gates on the longest way from a leaf), then by kind, so that a
    tape has long runs; then as they are met when the expression is read from left to right. So are
    variables.

    Parameters
    ----------
    output : Unit
    """

    cdef readonly Unit output
    cdef readonly Tape tape
    cdef PyObject **units

    def __cinit__(self, Unit output not None):
        self.output = output
        if FNN_FREE_THREADED:
            with slots_lock:
                self.find_and_lay_flat()
        else:
            self.find_and_lay_flat()

    def __dealloc__(self):
        PyMem_Free(self.units)

    cdef int find_and_lay_flat(self) except -1:
        cdef UnitList found
        cdef Py_ssize_t place
        memset(&found, 0, sizeof(found))
        try:
            find_units(<PyObject *>self.output, &found)
            self.lay_flat(&found)
        finally:
            for place in range(found.size):
                (<Unit>found.items[place]).slot = UNSEEN
            PyMem_Free(found.items)
        return 0

    cdef int lay_flat(self, UnitList *found) except -1:
        """Sort the units that were found, and write the tape. Their slots become 1 + its slots."""
        cdef Py_ssize_t n = found.size, n_variables, n_constants, first_gate, place, k
        cdef int32_t *order
        cdef Unit unit
        cdef Tape tape
        self.units = <PyObject **>PyMem_Malloc(n * sizeof(PyObject *))
        order = <int32_t *>PyMem_Malloc(n * sizeof(int32_t))
        try:
            if self.units == NULL or order == NULL:
                raise MemoryError()
            sort_units(found, order, &n_variables, &n_constants)
            for place in range(n):
                self.units[place] = found.items[order[place]]
                (<Unit>self.units[place]).slot = 1 + place
        finally:
            PyMem_Free(order)
        tape = self.tape = Tape(n_variables, n_constants, n - n_variables - n_constants)
        first_gate = n_variables + n_constants
        for k in range(tape.n_gates):
            unit = <Unit>self.units[first_gate + k]
            tape.kinds[k] = unit.kind - FIRST_GATE
            tape.left[k] = <int32_t>(<Unit>unit.left).slot - 1
            tape.right[k] = (
                tape.left[k] if unit.right == NULL else <int32_t>(<Unit>unit.right).slot - 1
            )
        tape.find_runs()
        self.read_values()
        return 0

    def __reduce__(self):
        """Unit by unit: kind, slots of the inputs, value, grad, and name."""
        cdef Tape tape = self.tape
        cdef Py_ssize_t first_gate = tape.n_variables + tape.n_constants
        units = self.all_units
        inputs = [(tape.left[k], tape.right[k]) for k in range(tape.n_gates)]
        return restore, (
            [(<Unit>unit).kind for unit in units],
            [(0, 0)] * first_gate + inputs,
            [(<Unit>unit)._value for unit in units],
            [(<Unit>unit)._grad for unit in units],
            [unit.name for unit in units],
        )

    @property
    def variables(self):
        """The units that were given their values, in the order of their slots."""
        return [<Unit>self.units[slot] for slot in range(self.tape.n_variables)]

    @property
    def all_units(self):
        """All units, in the order of their slots."""
        return [<Unit>self.units[slot] for slot in range(self.tape.n_slots)]

    def read_variables(self, double[::1] values not None):
        """Write the variables' values to an array of shape (n_variables,)."""
        cdef Py_ssize_t slot
        for slot in range(self.tape.n_variables):
            values[slot] = (<Unit>self.units[slot])._value

    def add_to_grads(self, const double[::1] gradients not None, const uint8_t[::1] chosen):
        """Add derivatives to the grad of the variables, or of the chosen ones.

        Parameters
        ----------
        gradients : ndarray of shape (n_variables,), float64
        chosen : ndarray of shape (n_variables,), uint8, or None
        """
        cdef Py_ssize_t slot
        for slot in range(self.tape.n_variables):
            if chosen is None or chosen[slot]:
                (<Unit>self.units[slot])._grad += gradients[slot]

    def move_variables(self, double size, const uint8_t[::1] chosen):
        """Move the variables, or the chosen ones, by `size` times their grad."""
        cdef Py_ssize_t slot
        for slot in range(self.tape.n_variables):
            if chosen is None or chosen[slot]:
                move(<Unit>self.units[slot], size)

    def forward(self):
        """Evaluate the tape at the variables' values, leaving gates' outputs as they are."""
        cdef Tape tape = self.tape
        self.read_values_of(0, tape.n_variables)
        tape.run_forward(active_kernels().gates, tape.values)
        return tape.values[tape.n_slots - 1]

    def backward(self, double upstream):
        """Add the tape's derivatives, where it was evaluated last, to the variables' grad."""
        cdef Tape tape = self.tape
        tape.run_backward(active_kernels().gates, tape.values, upstream, tape.gradients)
        self.add_gradients(tape.n_variables)

    def zero_gradients(self):
        """Set the grad of all units to 0."""
        cdef Py_ssize_t slot
        for slot in range(self.tape.n_slots):
            (<Unit>self.units[slot])._grad = 0.0

    cdef void read_values(self) noexcept:
        self.read_values_of(0, self.tape.n_slots)

    cdef void read_values_of(self, Py_ssize_t first, Py_ssize_t last) noexcept:
        cdef Py_ssize_t slot
        for slot in range(first, last):
            self.tape.values[slot] = (<Unit>self.units[slot])._value

    cdef void write_values(self) noexcept:
        cdef Py_ssize_t slot
        for slot in range(self.tape.n_variables + self.tape.n_constants, self.tape.n_slots):
            (<Unit>self.units[slot])._value = self.tape.values[slot]

    cdef void add_gradients(self, Py_ssize_t last) noexcept:
        """Add the tape's derivatives to the grad of the first units, but constants."""
        cdef Py_ssize_t slot
        for slot in range(last):
            if (<Unit>self.units[slot]).kind != CONSTANT:
                (<Unit>self.units[slot])._grad += self.tape.gradients[slot]


def restore(list kinds, list inputs, list values, list grads, list names):
    """Return an expression of new units, as `Expression.__reduce__` has described it."""
    cdef Unit unit
    cdef int kind
    units = []
    for kind, (left, right), value, grad, name in zip(kinds, inputs, values, grads, names):
        if kind < FIRST_GATE:
            unit = Unit.__new__(Unit)
            unit.kind = kind
        else:
            has_one_input = kind - FIRST_GATE >= FNN_SQUARE
            unit = make_unit(
                kind - FIRST_GATE, units[left], None if has_one_input else units[right]
            )
        unit._value, unit._grad, unit.name = value, grad, name
        units.append(unit)
    return Expression(units[len(units) - 1])
