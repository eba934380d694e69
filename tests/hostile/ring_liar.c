/*
 * ring_liar.c - lets the victim arm a lie of the helper, for a shim of its own: linked with --wrap=gate_interruptible.
 *
 * Owns: the way from read(RING_LIE_HANDLE, ...) to the ring's control page. Must never: be linked into the real shim.
 * Used by: tests/hostile/build.py.
 */
#include "ring_inner.h"
#include "ring_lie.h"

long __real_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_gate_frame(const struct frame *frame);

long __wrap_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f)
{
	struct ring_lie *lie;

	if (nr != __NR_read || (int32_t)a != RING_LIE_HANDLE)
		return __real_gate_interruptible(nr, a, b, c, d, e, f);
	if (!ring.control)
		return -ENODEV;
	lie = (struct ring_lie *)ring.control->padding;
	if (c == RING_LIE_TOLD)
		return copy_guarded((void *)b, &lie->told, sizeof lie->told);
	lie->seed = 2463534242u;
	return copy_guarded(&lie->kind, (void *)b, sizeof lie->kind);
}

long __wrap_gate_frame(const struct frame *frame)
{
	const uint64_t *arg = frame->arg;

	return __wrap_gate_interruptible((long)(uint32_t)frame->nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], (long)arg[4],
		    (long)arg[5]);
}
