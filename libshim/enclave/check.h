/*
 * check.h - what the shim is willing to believe of a reply.
 *
 * Owns: the interpretation of a row's right side. Must never: let a value of the host through unchecked. Used by:
 * pass.c and every sys_<name> that makes a host call itself.
 */
#ifndef SCONE_CHECK_H
#define SCONE_CHECK_H

#include "enclave.h"
#include "shape.h"

enum { FD_MAX = 0x7fffffff };

/*
 * The result of call `nr` as it may be given to the program: u_result where the row believes it, else -EIO (counted and
 * reported once a call). `arg` are the call's arguments, already copied; sizes in arrays are read through them.
 */
NODISCARD long check_result(uint32_t nr, const struct call_shape *shape, const uint64_t *arg, long u_result);

/* The same for an error of a call that is not to be made again: -GATE_RESTART is refused too. */
NODISCARD long check_error(uint32_t nr, const struct call_shape *shape, long u_result);

/* 0 when `bytes` (count elements) satisfies the argument's struct check, else -EIO, counted and reported. */
NODISCARD long check_struct(uint32_t nr, const struct arg_shape *shape, const void *bytes, size_t count);

/* Sum of the sizes of an iovec array of the program (at most 1024 are looked at); saturates; 0 when it can't be read. */
NODISCARD long vectors_sum(uint64_t vectors, uint64_t count);

/* Counts and reports a refused reply; returns -EIO. */
long check_refuse(uint32_t nr, const char *what, long value);
#endif
