/*
 * maps.c - calls about memory mappings.
 *
 * Owns: noticing code that the program maps. Must never: change what the program asked for. Called by: dispatch.c.
 */
#include <linux/mman.h>
#include "dispatch.h"
#include "patch.h"

long sys_mmap(struct frame *frame);
long sys_mmap(struct frame *frame)
{
	long address = pass_by_gate(frame);
	int protection = (int)frame->arg[2], fd = (int)frame->arg[4];

	if (address > 0 && protection & PROT_EXEC && !(protection & PROT_WRITE) && fd >= 0 &&
	    !(frame->arg[3] & MAP_ANONYMOUS) && (frame->arg[3] & MAP_TYPE) == MAP_PRIVATE)
		patch_mapping((uint64_t)address, frame->arg[1], protection, fd, frame->arg[5]);
	return address;
}

long sys_mprotect(struct frame *frame);
long sys_mprotect(struct frame *frame)
{
	return pass_by_gate(frame);
}
