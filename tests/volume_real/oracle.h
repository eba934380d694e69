/*
 * oracle.h - what an operation of the oracle is: chosen once, done in two directories, compared.
 *
 * Owns: struct choice, struct result. Must never: know which of the two sides is a volume. Used by: oracle.c, oracle_ops.c.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/stat.h>

enum { SIDES = 2, SLOTS = 12, MAPS = 3, PATH_SIZE = 1024, DATA_MAX = 1 << 17 };

/* Everything that an operation may want, drawn anew for each. */
struct choice {
	int slot, slot_2, map;
	int flags, how;
	mode_t mode;
	int64_t at;
	size_t size;
	uint32_t fill;
	char path[PATH_SIZE], path_2[PATH_SIZE];	/* relative to a side's root */
};

struct result {
	long value;
	int error;
	size_t size;			/* bytes in data that are to be the same */
	unsigned char data[DATA_MAX];
};

struct operation {
	const char *name;
	int weight;
	void (*run)(const struct choice *choice, int side, struct result *result);
};

extern const struct operation operations[];
extern const size_t operation_count;
extern int roots[SIDES], slots[SLOTS][SIDES];
extern char root_paths[SIDES][PATH_SIZE];

#endif
