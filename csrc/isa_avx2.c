/* AVX2 + FMA: 16 registers of 8 floats. */
#define FNN_ISA_AVX2
#define FNN_NAME "avx2"
#define FNN_TABLE fnn_kernels_avx2
#define FNN_ROWS 6
#define FNN_MAX_ROWS 5
#define FNN_NARROW_ROWS 3
#define FNN_CHAIN_ROWS 6
#define FNN_CHAIN 12
#define FNN_CHAINS 1
#include "fnn_kernels.inc.h"
