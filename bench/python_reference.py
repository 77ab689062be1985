"""The plain Python contestant for circuits: scalar back-propagation in the style of micrograd.

Each operation makes an object that holds its value, its inputs, and a function that goes one step
back. The order of the steps back is found with a stack of our own, as recursion would end at a
depth of a thousand.
"""

import math


class Value:
    """A scalar that remembers how it was made."""

    def __init__(self, data, inputs=()):
        self.data = data
        self.grad = 0.0
        self._inputs = set(inputs)
        self._backward = lambda: None

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data + other.data, (self, other))

        def backward():
            self.grad += out.grad
            other.grad += out.grad

        out._backward = backward
        return out

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        out = Value(self.data * other.data, (self, other))

        def backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = backward
        return out

    def tanh(self):
        t = math.tanh(self.data)
        out = Value(t, (self,))

        def backward():
            self.grad += (1.0 - t * t) * out.grad

        out._backward = backward
        return out

    def sigmoid(self):
        s = 1.0 / (1.0 + math.exp(-self.data))
        out = Value(s, (self,))

        def backward():
            self.grad += s * (1.0 - s) * out.grad

        out._backward = backward
        return out

    def relu(self):
        out = Value(max(self.data, 0.0), (self,))

        def backward():
            self.grad += (out.data > 0.0) * out.grad

        out._backward = backward
        return out

    def exp(self):
        out = Value(math.exp(self.data), (self,))

        def backward():
            self.grad += out.data * out.grad

        out._backward = backward
        return out

    def log(self):
        out = Value(math.log(self.data), (self,))

        def backward():
            self.grad += out.grad / self.data

        out._backward = backward
        return out

    def backward(self):
        order, visited, stack = [], set(), [(self, False)]
        while stack:
            value, has_inputs_done = stack.pop()
            if has_inputs_done:
                order.append(value)
            elif value not in visited:
                visited.add(value)
                stack.append((value, True))
                stack.extend((parent, False) for parent in value._inputs)
        self.grad = 1.0
        for value in reversed(order):
            value._backward()
        return order


def release(values):
    """Break the cycles between values and their functions, so that no collector is needed."""
    for value in values:
        value._backward = None
