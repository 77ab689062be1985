/* AVX-512 VNNI: four bytes a lane, beside the table of AVX-512. */
#if defined(FNN_HAVE_QUADS)
#define FNN_ISA_AVX512
#define FNN_QUADS fnn_quads_avx512
#define FNN_ROWS 12
#include "fnn_quads.inc.h"
#endif
