/*
 * module.c - the parts of libshim that Python tests and tools use, in an ordinary process.
 *
 * Owns: a gate that leads nowhere, and stand-ins for what else the checks use of a running shim. All of them are weak:
 * libshim's own take their place where they are linked in. Must never: judge a reply, or be linked into a shim.
 * Linked with libshim's objects by scone_preload/build/extension.py; stands for nothing that its tests are about.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <asm/prctl.h>
#include "module.h"
#include "check.h"

#define STAND_IN __attribute__((weak))

STAND_IN long gate6(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)nr, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	return -ENOSYS;
}

STAND_IN long gate_interruptible(long nr, long a, long b, long c, long d, long e, long f)
{
	return gate6(nr, a, b, c, d, e, f);
}

STAND_IN long gate_frame(const struct frame *frame)
{
	return gate6((long)frame->nr, 0, 0, 0, 0, 0, 0);
}

STAND_IN struct enclave enclave;

/* The kernel copies: a wild address of a test's is an error, as it is in a shim. */
STAND_IN long copy_guarded(void *to, const void *from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

bool control_event(uint32_t kind, uint32_t nr, const char *text);
STAND_IN bool control_event(uint32_t kind, uint32_t nr, const char *text)
{
	(void)kind, (void)nr, (void)text;
	return true;
}

/* The shim finds its thread by the GS base, which Python doesn't use; it is given back at once. */
int module_check_result(uint32_t nr, const uint64_t *arg, int64_t u_result, bool signal_pending,
			struct module_verdict *verdict)
{
	static __thread struct thread own;
	unsigned long before;

	if (nr >= CALL_COUNT)
		return -EINVAL;
	own = (struct thread) { .self = &own, .signal_pending = signal_pending };
	if (syscall(SYS_arch_prctl, ARCH_GET_GS, &before) || syscall(SYS_arch_prctl, ARCH_SET_GS, &own))
		return -EPERM;
	verdict->given = check_result(nr, &call_shapes[nr], arg, u_result);
	verdict->is_refused = own.stats.refused_replies != 0;
	return syscall(SYS_arch_prctl, ARCH_SET_GS, before) ? -EPERM : 0;
}
