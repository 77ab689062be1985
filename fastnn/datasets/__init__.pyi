from os import PathLike

from sklearn.utils import Bunch

__all__ = ["load_cifar10", "load_mnist"]

def load_cifar10(path: str | PathLike[str]) -> Bunch: ...
def load_mnist(path: str | PathLike[str]) -> Bunch: ...
