/*
 * marshal.c - calls that leave by the ring.
 *
 * Owns: copying a call's arguments out of the enclave and its reply back in, by its shape. Must never: hand the host an
 * address of the enclave, or look at a reply twice. Called by: pass.c.
 *
 *   frame ─► shape says which arguments are memory ─► copies in the lane ─► ring_call ─► check_result
 *         ◄─ copied in once, structs checked in a private copy ◄──────────────────────────────┘
 */
#include <linux/fcntl.h>
#include <linux/resource.h>
#include "dispatch.h"
#include "check.h"
#include "descriptor.h"
#include "marshal.h"
#include "ring.h"
#include "signal.h"
#include "stream.h"
#include "untrusted.h"

enum { PATH_SIZE = 4096, STRUCT_MAX = 1024, SOCKADDR_MAX = 128, VECTORS_MAX = 1024, NO_RING = 1, MSG_NOSIGNAL_ = 0x4000,
       CONTROL_MAX = 16384, OPTION_MAX = 65536, SET_COUNT = 1024 };

struct header {		/* the kernel's struct user_msghdr */
	uint64_t name; int32_t name_size, padding_1;
	uint64_t vectors, vector_count, control, control_size;
	uint32_t flags, padding_2;
};

/* A call on its way. out[i]: where argument i lies in the lane, NULL when it isn't memory. */
struct parcel {
	const struct call_shape *shape;
	struct thread *thread;
	const uint64_t *arg;		/* of the program */
	long     sent[6];		/* of the helper's call */
	void    *lane[6];
	uint64_t size[6];		/* bytes in lane[i] */
	struct io_part *vectors;		/* private copy of an iovec, or of a msghdr's */
	uint64_t vector_count;
	void    *data;			/* in the lane: what the vectors hold, one after the other */
	uint64_t data_size;
	struct header header;		/* private copy of the program's msghdr */
	void    *name, *control;	/* in the lane, of a msghdr */
};

/* Paths whose meaning depends on who opens them. */
static bool is_about_self(const char *path)
{
	return string_starts(path, "/proc") || string_starts(path, "/dev") || string_starts(path, "self") ||
	       string_starts(path, "thread-self");
}

static long path_pack(struct parcel *parcel, uint32_t i)
{
	char path[PATH_SIZE];
	long size;

	if (!parcel->arg[i])
		return 0;
	size = copy_string(path, (const char *)parcel->arg[i], sizeof path);
	TRY(size);
	if (is_about_self(path))
		return NO_RING;
	parcel->lane[i] = lane_data(parcel->thread, (size_t)size + 1);
	if (!parcel->lane[i])
		return NO_RING;
	copy_out(parcel->lane[i], path, (size_t)size + 1);
	return 0;
}

/* Room for `size` bytes of argument i, filled from the program when `is_in`. */
static long bytes_pack(struct parcel *parcel, uint32_t i, uint64_t size, bool is_in)
{
	if (!parcel->arg[i])
		return 0;
	parcel->lane[i] = lane_data(parcel->thread, size ? size : 1);
	if (!parcel->lane[i])
		return NO_RING;
	parcel->size[i] = size;
	return is_in ? copy_guarded(parcel->lane[i], (const void *)parcel->arg[i], size) : 0;
}

static long sized_pack(struct parcel *parcel, uint32_t i, bool is_in)
{
	const struct arg_shape *at = &parcel->shape->arg[i];
	uint64_t size;

	if (__builtin_mul_overflow(parcel->arg[at->size_arg], (uint64_t)at->size, &size))
		return NO_RING;
	return bytes_pack(parcel, i, size, is_in);
}

/* Programs count further than their sets reach (by getdtablesize()); only the kernel knows how far it looks. */
static long set_pack(struct parcel *parcel, uint32_t i)
{
	uint64_t count = parcel->arg[parcel->shape->arg[i].size_arg];

	return count > SET_COUNT ? NO_RING : bytes_pack(parcel, i, (count + 63) / 64 * 8, true);
}

/* The program's buffer whose capacity another argument points to. */
static long pointed_pack(struct parcel *parcel, uint32_t i, uint64_t limit)
{
	uint64_t pointer = parcel->arg[parcel->shape->arg[i].size_arg];
	int32_t capacity;

	if (!parcel->arg[i] || !pointer)
		return 0;
	TRY(copy_guarded(&capacity, (const void *)pointer, sizeof capacity));
	if (capacity < 0)
		return -EINVAL;
	return bytes_pack(parcel, i, (uint64_t)capacity > limit ? limit : (uint64_t)capacity, limit > SOCKADDR_MAX);
}

/* One buffer in the lane for all of the program's vectors, and a vector that names it (NULL: no room). */
static long vectors_pack(struct parcel *parcel, uint64_t vectors, uint64_t count, bool is_in, void **one)
{
	uint64_t *total = &parcel->data_size;
	struct io_part sent;

	if (count > VECTORS_MAX)
		return -EINVAL;
	*total = 0;
	parcel->vector_count = count;
	TRY(copy_guarded(parcel->vectors, (const void *)vectors, count * sizeof(struct io_part)));
	for (uint64_t i = 0; i < count; i++)
		if ((int64_t)parcel->vectors[i].size < 0 ||
		    __builtin_add_overflow(*total, parcel->vectors[i].size, total) || (int64_t)*total < 0)
			return -EINVAL;
	parcel->data = lane_data(parcel->thread, *total ? *total : 1);
	*one = lane_data(parcel->thread, sizeof sent);
	if (!parcel->data || !*one)
		return NO_RING;
	for (uint64_t i = 0, done = 0; is_in && i < count; done += parcel->vectors[i++].size)
		TRY(copy_guarded((uint8_t *)parcel->data + done, (const void *)parcel->vectors[i].base,
				 parcel->vectors[i].size));
	sent = (struct io_part) { (uint64_t)parcel->data, *total };
	copy_out(*one, &sent, sizeof sent);
	return 0;
}

static long iovec_pack(struct parcel *parcel, uint32_t i, bool is_in)
{
	uint32_t count_at = parcel->shape->arg[i].size_arg;

	parcel->sent[count_at] = parcel->arg[count_at] ? 1 : 0;
	return vectors_pack(parcel, parcel->arg[i], parcel->arg[count_at], is_in, &parcel->lane[i]);
}

/* A buffer that a msghdr names. */
static long header_part_pack(struct parcel *parcel, uint64_t pointer, uint64_t size, bool is_in, void **lane)
{
	*lane = NULL;
	if (!pointer || !size)
		return 0;
	*lane = lane_data(parcel->thread, size);
	if (!*lane)
		return NO_RING;
	return is_in ? copy_guarded(*lane, (const void *)pointer, size) : 0;
}

static long message_pack(struct parcel *parcel, uint32_t i, bool is_in)
{
	struct header *own = &parcel->header, sent;
	void *one;
	long result;

	TRY(copy_guarded(own, (const void *)parcel->arg[i], sizeof *own));
	if (own->name_size < 0)
		return -EINVAL;
	if (own->control_size > CONTROL_MAX)
		return NO_RING;
	if (own->name_size > SOCKADDR_MAX)
		own->name_size = SOCKADDR_MAX;
	result = vectors_pack(parcel, own->vectors, own->vector_count, is_in, &one);
	if (!result)
		result = header_part_pack(parcel, own->name, (uint64_t)own->name_size, is_in, &parcel->name);
	if (!result)
		result = header_part_pack(parcel, own->control, own->control_size, is_in, &parcel->control);
	if (result)
		return result;
	sent = (struct header) { .name = (uint64_t)parcel->name, .name_size = own->name_size, .vectors = (uint64_t)one,
				 .vector_count = 1, .control = (uint64_t)parcel->control,
				 .control_size = parcel->control ? own->control_size : 0, .flags = own->flags };
	parcel->lane[i] = lane_data(parcel->thread, sizeof sent);
	if (!parcel->lane[i])
		return NO_RING;
	copy_out(parcel->lane[i], &sent, sizeof sent);
	return 0;
}

static long argument_pack(struct parcel *parcel, uint32_t i)
{
	const struct arg_shape *at = &parcel->shape->arg[i];

	switch ((enum arg_kind)at->kind) {
	case ARG_NONE:
	case ARG_VALUE:
	case ARG_FD:
		return 0;
	case ARG_PATH:
		return path_pack(parcel, i);
	case ARG_IN:
		return sized_pack(parcel, i, true);
	case ARG_OUT:
		return sized_pack(parcel, i, false);
	case ARG_INOUT:
		return sized_pack(parcel, i, true);
	case ARG_IN_STRUCT:
	case ARG_INOUT_STRUCT:
	case ARG_SOCKLEN:
		return bytes_pack(parcel, i, at->kind == ARG_SOCKLEN ? 4 : at->size, true);
	case ARG_OUT_STRUCT:
		return bytes_pack(parcel, i, at->size, false);
	case ARG_IN_SOCKADDR:
		return (uint32_t)parcel->arg[at->size_arg] > SOCKADDR_MAX ? -EINVAL :
		       bytes_pack(parcel, i, (uint32_t)parcel->arg[at->size_arg], true);
	case ARG_OUT_SOCKADDR:
		return pointed_pack(parcel, i, SOCKADDR_MAX);
	case ARG_OUT_SIZED:
		return pointed_pack(parcel, i, OPTION_MAX);
	case ARG_IOVEC_IN:
	case ARG_IOVEC_OUT:
		return iovec_pack(parcel, i, at->kind == ARG_IOVEC_IN);
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		return message_pack(parcel, i, at->kind == ARG_MSG_IN);
	case ARG_FDSET:
		return set_pack(parcel, i);
	case ARG_ADDRESS:
	case ARG_PATH_ARRAY:
	case ARG_MSGS_IN:
	case ARG_MSGS_OUT:
		return parcel->arg[i] ? NO_RING : 0;
	}
	return NO_RING;
}

static long pack(struct parcel *parcel)
{
	for (uint32_t i = 0; i < parcel->shape->arg_count; i++)
		parcel->sent[i] = (long)parcel->arg[i];
	for (uint32_t i = 0; i < parcel->shape->arg_count; i++) {
		long result = argument_pack(parcel, i);

		if (result)
			return result;
	}
	for (uint32_t i = 0; i < parcel->shape->arg_count; i++)
		if (parcel->shape->arg[i].kind > ARG_FD && parcel->shape->arg[i].kind != ARG_ADDRESS)
			parcel->sent[i] = (long)parcel->lane[i];
	return 0;
}

/* ---- the way back ---- */

static long struct_unpack(struct parcel *parcel, uint32_t nr, uint32_t i)
{
	const struct arg_shape *at = &parcel->shape->arg[i];
	uint8_t copy[STRUCT_MAX];

	if (!parcel->lane[i])
		return 0;
	if (at->size > sizeof copy)
		die("a struct of the spec is larger than the marshaller's");
	copy_in(copy, parcel->lane[i], at->size);
	TRY(check_struct(nr, at, copy, 1));
	return copy_guarded((void *)parcel->arg[i], copy, at->size);
}

/* Bytes, or elements that are checked one by one, of which one field may be all that comes back. */
static long bytes_unpack(struct parcel *parcel, uint32_t nr, uint32_t i, long result)
{
	const struct arg_shape *at = &parcel->shape->arg[i];
	bool is_counted = parcel->shape->result == RESULT_AT_MOST || parcel->shape->result == RESULT_COUNT;
	uint64_t size = is_counted && at->kind == ARG_OUT ? (uint64_t)result * at->size : parcel->size[i];
	size_t back_size = at->back_size ? at->back_size : at->size;
	uint8_t copy[STRUCT_MAX];

	if (!parcel->lane[i])
		return 0;
	if (size > parcel->size[i])
		size = parcel->size[i];		/* MSG_TRUNC: the result may be more than there was room for */
	if (!at->check && !at->back_size)
		return copy_guarded((void *)parcel->arg[i], parcel->lane[i], size);
	for (uint64_t done = 0; done < size; done += at->size) {
		copy_in(copy, (uint8_t *)parcel->lane[i] + done, at->size);
		TRY(check_struct(nr, at, copy, 1));
		TRY(copy_guarded((uint8_t *)parcel->arg[i] + done + at->back_at, copy + at->back_at, back_size));
	}
	return 0;
}

/* The buffer before a socklen, and the socklen. */
static long pointed_unpack(struct parcel *parcel, uint32_t nr, uint32_t i)
{
	uint32_t length_at = parcel->shape->arg[i].size_arg;
	uint64_t limit = parcel->shape->arg[i].kind == ARG_OUT_SOCKADDR ? SOCKADDR_MAX : parcel->size[i];
	uint32_t u_length;

	if (!parcel->lane[i] || !parcel->lane[length_at])
		return 0;
	copy_in(&u_length, parcel->lane[length_at], sizeof u_length);
	if (u_length > limit)
		return check_refuse(nr, "a length", u_length);
	TRY(copy_guarded((void *)parcel->arg[i], parcel->lane[i], u_length < parcel->size[i] ? u_length : parcel->size[i]));
	return copy_guarded((void *)parcel->arg[length_at], &u_length, sizeof u_length);
}

static long vectors_unpack(const struct parcel *parcel, long result)
{
	uint64_t size = (uint64_t)result < parcel->data_size ? (uint64_t)result : parcel->data_size;

	for (uint64_t i = 0, done = 0; i < parcel->vector_count && done < size; i++) {
		uint64_t part = parcel->vectors[i].size < size - done ? parcel->vectors[i].size : size - done;

		TRY(copy_guarded((void *)parcel->vectors[i].base, (const uint8_t *)parcel->data + done, part));
		done += part;
	}
	return 0;
}

static long message_unpack(struct parcel *parcel, uint32_t nr, uint32_t i, long result)
{
	struct header got, *own = &parcel->header, *program = (struct header *)parcel->arg[i];

	copy_in(&got, parcel->lane[i], sizeof got);
	if (got.control_size > own->control_size || (uint32_t)got.name_size > SOCKADDR_MAX)
		return check_refuse(nr, "a size in the message header", (long)got.control_size);
	TRY(vectors_unpack(parcel, result));
	if (parcel->name) {
		int32_t size = got.name_size < own->name_size ? got.name_size : own->name_size;

		TRY(copy_guarded((void *)own->name, parcel->name, (uint64_t)size));
	}
	if (own->name)
		TRY(copy_guarded(&program->name_size, &got.name_size, sizeof got.name_size));
	if (parcel->control)
		TRY(copy_guarded((void *)own->control, parcel->control, got.control_size));
	TRY(copy_guarded(&program->control_size, &got.control_size, sizeof got.control_size));
	return copy_guarded(&program->flags, &got.flags, sizeof got.flags);
}

static long argument_unpack(struct parcel *parcel, uint32_t nr, uint32_t i, long result)
{
	switch ((enum arg_kind)parcel->shape->arg[i].kind) {
	case ARG_OUT:
	case ARG_INOUT:
	case ARG_FDSET:
		return bytes_unpack(parcel, nr, i, result);
	case ARG_OUT_STRUCT:
	case ARG_INOUT_STRUCT:
		return struct_unpack(parcel, nr, i);
	case ARG_OUT_SOCKADDR:
	case ARG_OUT_SIZED:
		return pointed_unpack(parcel, nr, i);
	case ARG_IOVEC_OUT:
		return vectors_unpack(parcel, result);
	case ARG_MSG_OUT:
		return message_unpack(parcel, nr, i, result);
	default:
		return 0;
	}
}

static long unpack(struct parcel *parcel, uint32_t nr, long result)
{
	for (uint32_t i = 0; i < parcel->shape->arg_count; i++)
		TRY(argument_unpack(parcel, nr, i, result));
	return result;
}

/* The signal that the kernel sent to the helper's thread in the program's stead. */
static void signal_own(int signal)
{
	gate3(__NR_tgkill, gate0(__NR_getpid), gate0(__NR_gettid), signal);
}

static void signals_follow(const struct parcel *parcel, long result, uint32_t nr)
{
	uint64_t limit[2];
	bool is_send = nr == __NR_sendto || nr == __NR_sendmsg;
	uint64_t flags = nr == __NR_sendto ? parcel->arg[3] : parcel->arg[2];

	if (result == -EPIPE && !(is_send && flags & MSG_NOSIGNAL_))
		signal_own(SIGPIPE);
	if (result == -EFBIG && gate2(__NR_getrlimit, RLIMIT_FSIZE, limit) == 0 && limit[0] != ~0UL)
		signal_own(SIGXFSZ);
}

static enum ring_class ring_class_of(const struct call_shape *shape)
{
	if (shape->restart == RESTART_SA)
		return RING_RESTART;
	return shape->flags & CALL_MAY_BLOCK ? RING_EINTR : RING_WAIT;
}

/* May another process read from or write to `fd`? A unix socket's peer sees who sends. */
static bool may_others(int fd, bool is_send)
{
	enum descriptor_kind kind = descriptor_kind(fd);

	return kind != KIND_DEVICE && kind != KIND_ANONYMOUS && kind != KIND_UNKNOWN && !(kind == KIND_LOCAL && is_send);
}

/* Do the descriptors that the call moves data from and to allow another process to make it? */
static bool is_shareable(uint32_t nr, const struct call_shape *shape, const uint64_t *arg)
{
	bool is_send = shape->arg[1].kind == ARG_IN || shape->arg[1].kind == ARG_IOVEC_IN ||
		       shape->arg[1].kind == ARG_MSG_IN || nr == __NR_sendfile;

	if (shape->arg[0].kind != ARG_FD || shape->arg[1].kind == ARG_PATH || nr == __NR_close)
		return true;		/* of what is being closed nothing may be remembered */
	return may_others((int)arg[0], is_send) && (nr != __NR_splice || may_others((int)arg[2], true));
}

/*
 * Natively a signal ends a socket call that has a timeout even with SA_RESTART. Asked of the kernel when it happens:
 * accepted, received and inherited sockets have timeouts that this process never set.
 */
static bool is_timed(const struct call_shape *shape, int fd)
{
	enum { SOL_SOCKET_ = 1, SO_RCVTIMEO_ = 20, SO_SNDTIMEO_ = 21 };
	enum arg_kind data = shape->arg[1].kind;
	bool is_send = data == ARG_IN || data == ARG_IOVEC_IN || data == ARG_MSG_IN || data == ARG_FD;
	enum descriptor_kind kind = descriptor_kind(fd);
	int64_t time[2] = { 0 };
	uint32_t size = sizeof time;

	if (shape->arg[0].kind != ARG_FD || (kind != KIND_STREAM && kind != KIND_SOCKET && kind != KIND_LOCAL))
		return false;
	return gate5(__NR_getsockopt, fd, SOL_SOCKET_, is_send ? SO_SNDTIMEO_ : SO_RCVTIMEO_, time, &size) == 0 &&
	       (time[0] || time[1]);
}

long exit_by_ring(struct frame *frame, const struct call_shape *shape)
{
	uint32_t nr = (uint32_t)frame->nr;
	struct io_part vectors[VECTORS_MAX];
	struct thread *thread = thread_self();
	struct parcel parcel = { .shape = shape, .thread = thread, .arg = frame->arg, .vectors = vectors };
	enum ring_class class = ring_class_of(shape);
	long result;

	if (!is_shareable(nr, shape, frame->arg) || !ring_attach(thread))
		return exit_by_gate(frame, shape);
	result = pack(&parcel);
	if (result == NO_RING) {
		lane_data_release(thread);
		return exit_by_gate(frame, shape);
	}
	if (result == 0) {
		if (thread->has_posted)
			stream_forced(thread);
		result = ring_call(thread, nr, parcel.sent, class);
		thread->has_posted = false;
		if (result == -GATE_RESTART && class == RING_RESTART && thread->signal_pending &&
		    (!signal_restarts(thread) || is_timed(shape, (int)frame->arg[0])))
			result = -EINTR;
		thread->stats.calls_by_exit[WIRE_EXIT_RING]++;
		if (result == -EPIPE || result == -EFBIG)
			signals_follow(&parcel, result, nr);
		if (result != -GATE_RESTART)
			result = check_result(nr, shape, frame->arg, result);
		if (result >= 0)
			result = unpack(&parcel, nr, result);
	}
	lane_data_release(thread);
	return result;
}
