/* What is asked of OpenMP: how many threads others leave to us. Builds without it are not told. */
#ifndef FNN_OPENMP_H
#define FNN_OPENMP_H

#if defined(_OPENMP)
#include <omp.h>
#define FNN_OPENMP _OPENMP
#else
#define FNN_OPENMP 0
static inline int omp_get_max_threads(void) { return 1; }
#endif

#endif
