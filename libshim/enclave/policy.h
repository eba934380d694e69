/*
 * policy.h - what the policy says of each call, inside the enclave.
 *
 * Owns: the policy that the runtime handed over, and the answers about paths that need not be asked again. Must never:
 * decide what the policy leaves to the runtime. Used by: dispatch.c, pass.c, start.c, clone.c.
 */
#ifndef SCONE_POLICY_H
#define SCONE_POLICY_H

#include "enclave.h"
#include "shape.h"

/* Takes a policy over: `size` bytes of the runtime's. Dies when it can't be read: without its policy nothing may run. */
void policy_install(const void *image, size_t size);

/* The call's result where the policy (or the runtime, asked) has one, else -SHIELD_PLAIN: the call goes on. Only asked
 * once enclave.has_policy. */
long policy_serve(struct frame *frame, const struct call_shape *shape);

/* The same for a number that is no call's. */
long policy_serve_unknown(uint32_t nr);

/* Does it say the same of every call of this number, whatever it is about, and more than that it goes on? */
bool policy_is_general(uint32_t nr);

/* Must this call of the program be made by the gate? Only asked once enclave.has_policy. */
bool policy_is_inside(uint32_t nr);

/* In a fork child: no other thread is left that could hold the lock of the answers. */
void policy_after_fork(void);
#endif
