/* What every CPU of the architecture has: SSE2 on x86-64, NEON on AArch64, plain C elsewhere. */
#define FNN_ISA_BASELINE
#define FNN_TABLE fnn_kernels_baseline
#if defined(__aarch64__)
#define FNN_NAME "neon"
#define FNN_ROWS 12
#define FNN_MAX_ROWS 12
#define FNN_CHAIN_ROWS 6
#define FNN_CHAIN 8
#define FNN_CHAINS 4
#else
#define FNN_NAME "baseline"
#define FNN_ROWS 6
#define FNN_MAX_ROWS 6
#define FNN_CHAIN_ROWS 6
#define FNN_CHAIN 12
#define FNN_CHAINS 1
#endif
#include "fnn_kernels.inc.h"
