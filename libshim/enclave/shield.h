/*
 * shield.h - descriptors that are not the kernel's alone: where shields plug in.
 *
 * Owns: struct fd_ops, and the one place where calls on such a descriptor leave the plain way. Must never: let a call
 * with a shielded descriptor among its arguments go on before the shield has seen it. Used by: dispatch.c, descriptor.c.
 */
#ifndef SCONE_SHIELD_H
#define SCONE_SHIELD_H

#include "enclave.h"
#include "shape.h"

/* A shield's answer: the call goes on the plain way. Never an errno. */
#define SHIELD_PLAIN 513L

struct descriptor;

/* What a shield is. One constant of this type in one file each. */
struct fd_ops {
	const char *name;
	/* Serves the program's call, whose argument `at` names the descriptor: its result, or -SHIELD_PLAIN. */
	long (*call)(struct descriptor *descriptor, struct frame *frame, uint32_t at);
	/* One more number names the object (dup). */
	void (*share)(void *object);
	/* One number less does (close, dup2 over it); the last one frees it. */
	void (*release)(void *object);
};

/*
 * The call's result when one of its descriptors has a shield, else -SHIELD_PLAIN. For the first shielded argument; its
 * shield sees to the others. Only asked once enclave.has_shields.
 */
long shield_serve(struct frame *frame, const struct call_shape *shape);

/* Gives `fd` a shield: `object` is the descriptor's from now on. */
void shield_attach(int fd, const struct fd_ops *ops, void *object);

/* `to` names what `from` names. */
void shield_share(const struct descriptor *from, struct descriptor *to);

/* The number goes. */
void shield_release(struct descriptor *descriptor);
#endif
