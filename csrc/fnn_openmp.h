/* What is asked of OpenMP, with answers for builds that have none. */
#ifndef FNN_OPENMP_H
#define FNN_OPENMP_H

#if defined(_OPENMP)
#include <omp.h>
#define FNN_OPENMP _OPENMP
#else
#define FNN_OPENMP 0
static inline int omp_get_max_threads(void) { return 1; }
static inline int omp_get_num_threads(void) { return 1; }
#include <time.h>
static inline double omp_get_wtime(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif

#endif
