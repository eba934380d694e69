/*
 * about.h - what a call is about: the files that its paths name, or the socket addresses that it names.
 *
 * Owns: struct about, as questions to the runtime carry it. Must never: follow a link (the runtime does), or leave out a
 * name that the kernel would use. Used by: policy.c, ask.c.
 */
#ifndef SCONE_ABOUT_H
#define SCONE_ABOUT_H

#include "enclave.h"
#include "shape.h"

enum { ABOUT_MAX = 2 };		/* paths of one call */

struct about {
	uint8_t  kind;		/* CTL_ABOUT_*, 0: nothing */
	bool     is_kept;	/* an answer about it may be kept: it means the same the next time */
	bool     is_datagram;	/* an address: the socket is no stream */
	uint64_t size;
	char     bytes[4096];	/* a path is also NUL-terminated */
};

/*
 * The paths of a call, made absolute; "//" and "/." are taken out, ".." and a "/" at the end are not, for links may stand
 * before them. How many there are, 0: whatever the call says of them is the kernel's own error, or no path at all; or
 * -errno, which is then the call's result.
 */
NODISCARD long about_paths(struct about about[ABOUT_MAX], const struct frame *frame, const struct call_shape *shape);

/*
 * The socket address that a call names, and of a call with many messages the next one from number *next on. 1, or 0 when
 * there is none (any more), or -errno, which is then the call's result. A relative name of a unix socket is made absolute.
 */
NODISCARD long about_address(struct about *about, const struct frame *frame, const struct call_shape *shape, uint64_t *next);
#endif
