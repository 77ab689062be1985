"""Image data sets: reading their official files without trusting them. Nothing is downloaded."""

from ._cifar10 import load_cifar10
from ._mnist import load_mnist

__all__ = ["load_cifar10", "load_mnist"]
