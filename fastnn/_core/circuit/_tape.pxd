"""The flat form of an expression, for the module that writes it."""

from libc.stdint cimport int32_t, uint8_t

from .._dispatch cimport fnn_gate


cdef class Tape:
    cdef readonly Py_ssize_t n_variables, n_constants, n_gates, n_slots
    cdef uint8_t *kinds
    cdef int32_t *left
    cdef int32_t *right
    cdef double *values
    cdef double *gradients
    cdef Py_ssize_t n_runs
    cdef int32_t *run_starts

    cdef void find_runs(self) noexcept
    cdef void run_forward(self, const fnn_gate *gates, double *values) noexcept nogil
    cdef void run_backward(
        self, const fnn_gate *gates, const double *values, double upstream, double *gradients
    ) noexcept nogil
