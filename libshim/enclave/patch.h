/*
 * patch.h - the site door: `syscall` instructions of libraries become jumps into the shim.
 *
 * Owns: trampolines and the patching of code. Must never: patch bytes that differ from what was analysed. Used by:
 * start.c (what is mapped already), memory calls (what is mapped later).
 */
#ifndef SCONE_PATCH_H
#define SCONE_PATCH_H

#include "enclave.h"

/* Patches every object that the loader has mapped. Called once, before the program's first constructor. */
void patch_start(void);

/* The program mapped `size` bytes of descriptor `fd` from `offset` executable at `address`: patches what is known. */
void patch_mapping(uint64_t address, uint64_t size, int protection, int fd, uint64_t offset);
/* Looks up libc's own functions behind the symbol doors. Called once, before the doors close. (doors.c) */
void doors_resolve(void);
#endif
