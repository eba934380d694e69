/*
 * module.h - what Python tests and tools see of libshim: its layouts, constants, tables and reply checks.
 *
 * Owns: the list of those headers, and how a check is called from an ordinary process. Must never: be part of a shim.
 * Used by: scone_preload/build/extension.py, which compiles it with cffi into build/; scone_preload/libshim.py.
 */
#ifndef SCONE_MODULE_H
#define SCONE_MODULE_H

#include "control.h"
#include "policy.h"
#include "ring.h"
#include "enclave.h"
#include "shape.h"
#include "subshape.h"
#include "shim_abi.h"
#include "calls.gen.h"

struct module_verdict {
	int64_t  given;		/* to the program: the result, or -errno */
	uint32_t is_refused;	/* whether the reply was refused, which is counted and reported */
	uint32_t padding;
};

/*
 * check_result() of the call's own row, as on a thread of the shim. `arg` are the call's six arguments; memory that they
 * point to is this process's, and may be absent. 0, or -errno when this thread can't be made one of the shim.
 */
int module_check_result(uint32_t nr, const uint64_t *arg, int64_t u_result, bool signal_pending,
			struct module_verdict *verdict);
#endif
