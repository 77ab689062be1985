from collections.abc import Sequence
from os import PathLike

from sklearn.utils import Bunch

__all__ = ["load_cifar10", "load_cifar100", "load_mnist"]

def load_cifar10(path: str | PathLike[str]) -> Bunch: ...
def load_cifar100(path: str | PathLike[str]) -> Bunch: ...
def load_mnist(
    path: str | PathLike[str] | Sequence[str | PathLike[str]], name: str | None = None
) -> Bunch: ...
