/*
 * marshal.h - calls that leave by the ring.
 *
 * Owns: copying a call's arguments out of the enclave and its reply back in, by its shape. Must never: hand the host an
 * address of the enclave. Used by: pass.c.
 */
#ifndef SCONE_MARSHAL_H
#define SCONE_MARSHAL_H

#include "enclave.h"
#include "shape.h"

/*
 * Makes the frame's call by the ring, or by the gate where it can't be marshalled; the result after the checks of result,
 * errno and struct fields by `shape`. What only a predicate can say is its caller's.
 */
NODISCARD long exit_by_ring(struct frame *frame, const struct call_shape *shape);

/* The same, by the gate. (pass.c) */
NODISCARD HOT long exit_by_gate(struct frame *frame, const struct call_shape *shape);
#endif
