"""
A neuron as a circuit, before and after a step
==============================================

Values flow to the right, in green above the wires; gradients flow back to the left, in red below
them. The neuron is :math:`\\sigma(a x + b y + c)`.
"""

from fastnn.circuit import Circuit, Unit

names = {"a": 1.0, "b": 2.0, "c": -3.0, "x": -1.0, "y": 3.0}
a, b, c, x, y = (Unit(value, name=name) for name, value in names.items())
neuron = (a * x + b * y + c).sigmoid()
neuron.backward()
Circuit(neuron).draw("matplotlib")

# %%
# A step of all inputs along their gradients makes the output larger: here a large step, to be seen.

neuron.step(1.0)
neuron.zero_grad()  # gradients add up
neuron.backward()
Circuit(neuron).draw("matplotlib")
