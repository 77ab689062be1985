/* Four bytes a lane, in plain C beside the baseline: to be tested, not used. */
#define FNN_ISA_BASELINE
#define FNN_EMULATED
#define FNN_QUADS fnn_quads_emulated
#define FNN_ROWS 6
#include "fnn_quads.inc.h"
