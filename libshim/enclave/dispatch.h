/*
 * dispatch.h - from the doors to the handler of a call.
 *
 * Owns: the order of things for every call. Must never: know a particular call. Used by: doors.S, and by handlers that
 * hand a call on (sys_pass).
 */
#ifndef SCONE_DISPATCH_H
#define SCONE_DISPATCH_H

#include "enclave.h"
#include "shape.h"

/* Notes which calls this binary may make. Called once, from start.c. */
void dispatch_start(void);

/* Serves the frame's call; its result, or -GATE_RESTART when it is to be made again (doors.S goes to frame->retry then). */
HOT long dispatch(struct frame *frame);

/* The handler of every row without one of its own: by the exit that mode and row allow, with the row's checks. */
HOT long sys_pass(struct frame *frame);

/* The same by another row than the call's own: that of a command. */
HOT long pass_shaped(struct frame *frame, const struct call_shape *shape);

/* As sys_pass, always on the program's own thread. */
HOT long pass_by_gate(struct frame *frame);

/* As pass_by_gate, but no signal ends it: a call of the shim's own that must be made. */
long pass_steadily(struct frame *frame);

/* The call as policy, shields and its handler serve it. */
HOT long dispatch_on(struct frame *frame, uint32_t nr);

/* The same without the policy, which was asked. */
long dispatch_asked(struct frame *frame, uint32_t nr);

/*
 * Made by the gate, with no helper meanwhile: identity and limits are a process's own, so the helper with the old ones
 * ends, and is made anew when it is needed.
 */
long pass_renewing(struct frame *frame);

/* Refuses a call: counts, reports once, gives -`error`. */
long deny(uint32_t nr, uint32_t error);

/* Sends a trace record of the finished call, that left by `exit` (WIRE_EXIT_*) and took `ns`. (trace.c) */
void trace_call(const struct frame *frame, const uint64_t *arg, uint32_t nr, long result, uint32_t exit, uint64_t ns);
#endif
