/*
 * liar.c - a host that lies, for a shim of its own: linked with --wrap around the two exits.
 *
 * Owns: the answer to the one call that the victim armed. The call isn't made; its result and the memory that the host
 * was given become what the lie says: by the ring what a lying helper leaves in the lane, by the gate what a lying
 * kernel leaves in place. Must never: be linked into the real shim. Used by: tests/hostile/build.py.
 */
#include "enclave.h"
#include "ring.h"
#include "lie.h"

static struct lie *armed;

long __real_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f);
long __wrap_gate_frame(const struct frame *frame);
long __real_ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class);
long __wrap_ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class);
long __real_ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class,
		      struct ring_ahead ahead[64], size_t *ahead_count);
long __wrap_ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class,
		      struct ring_ahead ahead[64], size_t *ahead_count);

static bool is_armed(long nr)
{
	return armed && (armed->nr == nr || (armed->also && armed->also == nr));
}

static long tell(const long args[6], bool by_ring)
{
	struct lie *lie = armed;

	armed = NULL;
	lie->is_told = 1;
	lie->by_ring = by_ring;
	for (uint32_t i = 0; i < lie->count; i++) {
		const struct lie_write *write = &lie->write[i];
		uint64_t at = (uint64_t)args[write->arg];

		if (at && write->via)
			memcpy(&at, (const void *)(at + write->via - 1), sizeof at);
		if (at)
			memcpy((void *)(at + write->offset), write->bytes, write->size);
	}
	return lie->result;
}

long __wrap_gate_interruptible(long nr, long a, long b, long c, long d, long e, long f)
{
	const long args[6] = { a, b, c, d, e, f };

	if (nr == __NR_read && (int32_t)a == LIE_HANDLE) {
		armed = (struct lie *)b;
		return 0;
	}
	return is_armed(nr) ? tell(args, false) : __real_gate_interruptible(nr, a, b, c, d, e, f);
}

long __wrap_gate_frame(const struct frame *frame)
{
	const uint64_t *arg = frame->arg;

	return __wrap_gate_interruptible((long)(uint32_t)frame->nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], (long)arg[4],
		    (long)arg[5]);
}

long __wrap_ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class)
{
	return is_armed(nr) ? tell(args, true) : __real_ring_call(thread, nr, args, class);
}

long __wrap_ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class,
		      struct ring_ahead ahead[64], size_t *ahead_count)
{
	if (!is_armed(nr))
		return __real_ring_turn(thread, nr, args, class, ahead, ahead_count);
	*ahead_count = 0;
	return tell(args, true);
}
