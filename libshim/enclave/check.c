/*
 * check.c - what the shim is willing to believe of a reply.
 *
 * Owns: the interpretation of a row's right side. Must never: read host memory; it gets values that were fetched once.
 * Called by: pass.c and every sys_<name> that makes a host call itself.
 */
#include "check.h"
#include "control.h"

enum { PID_MAX = 1 << 22, VECTORS_MAX = 1024 };

long check_refuse(uint32_t nr, const char *what, long value)
{
	static uint64_t reported[CALL_COUNT / 64];
	char bytes[160];
	struct text text = { bytes, 0, sizeof bytes };

	thread_self()->stats.refused_replies++;
	if (nr < CALL_COUNT && !(reported[nr / 64] & 1UL << nr % 64)) {
		reported[nr / 64] |= 1UL << nr % 64;
		text_add(&text, call_shapes[nr].name ? call_shapes[nr].name : "?");
		text_add(&text, ": the host's reply is refused: ");
		text_add(&text, what);
		text_add(&text, " ");
		text_add_number(&text, value);
		control_event(CTL_EVENT_REFUSED, nr, text.bytes);
	}
	return -EIO;
}

long vectors_sum(uint64_t vectors, uint64_t count)
{
	long sum = 0;

	for (uint64_t i = 0; i < count && i < VECTORS_MAX; i++) {
		struct io_part vector;

		if (copy_guarded(&vector, (void *)(vectors + i * sizeof vector), sizeof vector) < 0)
			return 0;
		if (__builtin_add_overflow(sum, (long)vector.size, &sum))
			return 0x7ffffffffffff000L;
	}
	return sum;
}

static long sum_of(const struct call_shape *shape, const uint64_t *arg)
{
	const struct arg_shape *at = &shape->arg[shape->result_arg];
	uint64_t header[4];

	if (at->kind == ARG_IOVEC_IN || at->kind == ARG_IOVEC_OUT)
		return vectors_sum(arg[shape->result_arg], arg[at->size_arg]);
	if (copy_guarded(header, (void *)arg[shape->result_arg], sizeof header) < 0)
		return 0;
	return vectors_sum(header[2], header[3]);
}

static bool is_believed(const struct call_shape *shape, const uint64_t *arg, long result)
{
	switch ((enum result_kind)shape->result) {
	case RESULT_ANY:
	case RESULT_OFFSET:
		return true;
	case RESULT_ZERO:
		return result == 0;
	case RESULT_AT_MOST:
		return (uint64_t)result <= arg[shape->result_arg];
	case RESULT_COUNT:
		return result <= 0x7fffffff && (uint64_t)result <= (uint32_t)arg[shape->result_arg];
	case RESULT_AT_MOST_SUM:
		return result <= sum_of(shape, arg);
	case RESULT_FD:
		return result <= FD_MAX;
	case RESULT_PID:
		return result <= PID_MAX;
	case RESULT_ADDRESS:
		return !(result & (long)(PAGE_SIZE - 1));
	case RESULT_NEVER:
		return false;
	case RESULT_EXACTLY:
		return result == (int32_t)arg[shape->result_arg];
	case RESULT_AT_LEAST:
		return result <= FD_MAX && result >= (int32_t)arg[shape->result_arg];
	case RESULT_OWNER:
		return result <= PID_MAX;
	}
	return false;
}

/* Natively true past the bound: a datagram's whole size with MSG_TRUNC, the size wanted when asked with size 0. */
static bool may_exceed(const struct call_shape *shape, const uint64_t *arg, long result)
{
	enum { MSG_TRUNC_ = 0x20, SIZE_MAX_ = 0x7fffffff };

	if (result > SIZE_MAX_)
		return false;
	if (shape->flags & CALL_SIZE_QUERY)
		return arg[shape->result_arg] == 0;
	return shape->flags & CALL_MSG_TRUNC && arg[shape->result_arg + 1] & MSG_TRUNC_;	/* flags follow the bound */
}

long check_error(uint32_t nr, const struct call_shape *shape, long u_result)
{
	if (u_result > -192 && shape->errnos[-u_result / 64] & 1UL << -u_result % 64)
		return u_result;
	if (shape->result == RESULT_OWNER && u_result >= -PID_MAX)
		return u_result;
	return check_refuse(nr, "error", u_result);
}

long check_result(uint32_t nr, const struct call_shape *shape, const uint64_t *arg, long u_result)
{
	if (likely(u_result >= 0)) {
		if (likely(is_believed(shape, arg, u_result)) || may_exceed(shape, arg, u_result))
			return u_result;
		return check_refuse(nr, "result", u_result);
	}
	if (u_result == -GATE_RESTART && thread_self()->signal_pending)
		return u_result;
	return check_error(nr, shape, u_result);
}

long check_struct(uint32_t nr, const struct arg_shape *shape, const void *bytes, size_t count)
{
	for (size_t i = 0; shape->check && i < count; i++)
		if (!shape->check((const uint8_t *)bytes + i * shape->size))
			return check_refuse(nr, "a field of element", (long)i);
	return 0;
}
