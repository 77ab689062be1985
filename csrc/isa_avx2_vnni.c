/* AVX-VNNI: four bytes a lane, beside the table of AVX2. */
#if defined(FNN_HAVE_QUADS)
#define FNN_ISA_AVX2
#define FNN_QUADS fnn_quads_avx2
#define FNN_ROWS 6
#include "fnn_quads.inc.h"
#endif
