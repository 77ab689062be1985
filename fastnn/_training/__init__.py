"""What estimators that are trained have in common.

    fit --> rows and targets checked --> a compiled model --> epochs, or a solver of SciPy's
                                                          --> weights kept, also after Ctrl-C

`estimators` has the ways of `fit` and `partial_fit`; `targets` what is learned of rows;
`trainer` the epochs, by a schedule of step sizes (`schedules`) and a rule for when to end
(`stopping`); `solvers` all that takes the loss as a function of one vector. The models are
`LinearModel` and `Network` in `_core/training`.
"""
