/* AVX-512 F, DQ, BW, VL: 32 registers of 16 floats. */
#define FNN_ISA_AVX512
#define FNN_NAME "avx512"
#define FNN_TABLE fnn_kernels_avx512
#define FNN_ROWS 12
#define FNN_MAX_ROWS 12
#include "fnn_kernels.inc.h"
