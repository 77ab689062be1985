"""Image data sets: reading their official files without trusting them. Nothing is downloaded."""

from ._cifar import load_cifar10, load_cifar100
from ._mnist import load_mnist

__all__ = ["load_cifar10", "load_cifar100", "load_mnist"]
