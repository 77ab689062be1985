/* AVX-512 F, DQ, BW, VL: 32 registers of 16 floats. */
#define FNN_ISA_AVX512
#define FNN_NAME "avx512"
#define FNN_TABLE fnn_kernels_avx512
#define FNN_ROWS 12
#define FNN_MAX_ROWS 12
#define FNN_NARROW_ROWS 8
#define FNN_CHAIN_ROWS 6
#define FNN_CHAIN 8
#define FNN_CHAINS 4
#include "fnn_kernels.inc.h"
