/*
 * marshal.h - calls that leave by the ring.
 *
 * Owns: copying a call's arguments out of the enclave and its reply back in, by its shape. Must never: hand the host an
 * address of the enclave. Used by: pass.c.
 */
#ifndef SCONE_MARSHAL_H
#define SCONE_MARSHAL_H

#include "enclave.h"

/* Makes the frame's call by the ring; the checked result. Takes the gate where the call can't be marshalled. */
long pass_by_ring(struct frame *frame);
#endif
