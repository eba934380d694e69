/*
 * chains.h - replies made of records that each say their own size: directory listings, control messages.
 *
 * Owns: the contract of chains.c. Must never: let a program walk out of its buffer by a size of the host's.
 * Used by: fd.c, transfer.c.
 */
#ifndef SCONE_CHAINS_H
#define SCONE_CHAINS_H

#include "enclave.h"

enum { DIRENT_NAME = 18, DIRENT64_NAME = 19 };	/* where the name begins: getdents, getdents64 */

/*
 * A listing of `size` bytes in the program's memory: its records follow each other exactly to the end, each name ends
 * inside its record, is not empty and holds no '/'. `size` (also when it is an error), or -EIO.
 */
NODISCARD long listing_check(uint32_t nr, uint64_t listing, long size, uint32_t name_at);

/*
 * `size` bytes of control messages in the program's memory: each header and body lie inside, descriptors that were
 * received are numbers. 0, or -EIO.
 */
NODISCARD long controls_check(uint32_t nr, uint64_t controls, uint64_t size);
#endif
