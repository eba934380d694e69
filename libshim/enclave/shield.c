/*
 * shield.c - descriptors that are not the kernel's alone: where shields plug in.
 *
 * Owns: the way from a call to the shield of one of its descriptors. Must never: know how a shield works, or look at a
 * vfork child's numbers (they are its own). Called by: dispatch.c, descriptor.c, fd.c.
 */
#include "descriptor.h"
#include "shield.h"
#include "volumes.h"

long shield_serve(struct frame *frame, const struct call_shape *shape)
{
	if (thread_self()->gate_only)
		return enclave.has_volumes ? volumes_serve_guest(frame, shape) : -SHIELD_PLAIN;
	for (uint32_t i = 0, left = shape->fd_args; left; i++, left >>= 1) {
		struct descriptor *descriptor = left & 1 ? descriptor_of((int)frame->arg[i]) : NULL;

		if (descriptor && descriptor->ops)
			return descriptor->ops->call(descriptor, frame, i);
	}
	return -SHIELD_PLAIN;
}

void shield_attach(int fd, const struct fd_ops *ops, void *object)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor)
		die("a shield for a number that no program has");
	descriptor->object = object;
	descriptor->ops = ops;
	enclave.has_shields = enclave.is_watched = true;
}

void shield_share(const struct descriptor *from, struct descriptor *to)
{
	if (!from->ops)
		return;
	from->ops->share(from->object);
	to->object = from->object;
	to->ops = from->ops;
}

void shield_release(struct descriptor *descriptor)
{
	const struct fd_ops *ops = __atomic_exchange_n(&descriptor->ops, NULL, __ATOMIC_ACQ_REL);	/* two threads may close it */

	if (ops)
		ops->release(descriptor->object);
	descriptor->object = NULL;
}
