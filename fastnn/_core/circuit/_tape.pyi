import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Tape:
    def __new__(cls, n_variables: int, n_constants: int, n_gates: int) -> Tape: ...
    # Filled by compiled code alone.
    @property
    def n_variables(self) -> int: ...
    @property
    def n_constants(self) -> int: ...
    @property
    def n_gates(self) -> int: ...
    @property
    def n_slots(self) -> int: ...
    def slots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def variable_gradients(self) -> NDArray[np.float64]: ...
    def value_and_gradient(
        self, variables: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]: ...
    def evaluate_rows(
        self,
        X: NDArray[np.float64],
        input_slots: NDArray[np.int32],
        variables: NDArray[np.float64],
        values: NDArray[np.float64],
        n_threads: int,
    ) -> None: ...
    def differentiate_rows(
        self,
        X: NDArray[np.float64],
        input_slots: NDArray[np.int32],
        variables: NDArray[np.float64],
        upstream: NDArray[np.float64],
        values: NDArray[np.float64],
        dX: NDArray[np.float64],
        n_threads: int,
    ) -> NDArray[np.float64]: ...
