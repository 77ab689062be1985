/* Dot products of bytes (FEAT_DotProd): four a lane, beside the table of NEON. */
#if defined(FNN_HAVE_QUADS)
#define FNN_ISA_BASELINE
#define FNN_DOTPROD
#define FNN_QUADS fnn_quads_neon
#define FNN_ROWS 12
#include "fnn_quads.inc.h"
#endif
