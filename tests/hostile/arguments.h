/*
 * arguments.h - the calls that the generated replies are told to: arguments for any row of the spec.
 *
 * Owns: how much each argument offers, which scone_preload/codegen/hostile_contents.py knows. Must never: ask for more
 * than what is said there. Used by: victim.c and tests/codegen/hostile_harness.c, each with a buffer() of its own.
 */
#ifndef HOSTILE_ARGUMENTS_H
#define HOSTILE_ARGUMENTS_H

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "shape.h"

enum { BOUND = 100, ADDRESS = 128, CONTROLS = 64, SMALL = 16, SECONDS = 5, VECTOR = 6, NAME = 7, CONTROL = 8, BUFFERS = 9 };

/* `size` zero bytes, after which no other may be touched, as buffer `index`: an argument's number, or one of the above. */
static void *buffer(int index, size_t size);

static struct iovec *vector_of(int index)
{
	struct iovec *part = buffer(index, sizeof(*part));

	*part = (struct iovec){ buffer(VECTOR, BOUND), BOUND };
	return part;
}

/* `size` bytes that begin with a message's header; more of them have no vectors. */
static void *message_of(size_t size)
{
	struct msghdr *message = buffer(1, size);
	struct iovec *part = buffer(VECTOR, sizeof(*part) + BOUND);

	*part = (struct iovec){ part + 1, BOUND };
	*message = (struct msghdr){ .msg_name = buffer(NAME, ADDRESS), .msg_namelen = ADDRESS, .msg_iov = part,
				    .msg_iovlen = 1, .msg_control = buffer(CONTROL, CONTROLS),
				    .msg_controllen = CONTROLS };
	return message;
}

static long value_for(const struct call_shape *shape, int index)
{
	if ((shape->result == RESULT_AT_MOST || shape->result == RESULT_COUNT) && shape->result_arg == index)
		return BOUND;
	for (int i = 0; i < shape->arg_count; i++) {
		if (shape->arg[i].kind == ARG_FDSET && shape->arg[i].size_arg == index)
			return BOUND;
		if (shape->arg[i].kind == ARG_IOVEC_IN || shape->arg[i].kind == ARG_IOVEC_OUT) {
			if (shape->arg[i].size_arg == index)
				return 1;
		} else if (shape->arg[i].size_arg == index && i != index && index) {
			return SMALL;
		}
	}
	return 0;
}

static void *struct_for(const struct arg_shape *at, int index)
{
	int64_t *bytes = buffer(index, at->size);

	if (at->kind == ARG_INOUT_STRUCT && at->size == 2 * sizeof(*bytes))
		*bytes = SECONDS;
	return bytes;
}

static void *memory_for(const struct call_shape *shape, int index, const long *arg)
{
	const struct arg_shape *at = &shape->arg[index];

	switch ((enum arg_kind)at->kind) {
	case ARG_PATH:
		return memcpy(buffer(index, 6), "there", 6);
	case ARG_IN:
	case ARG_OUT:
	case ARG_INOUT:
		return buffer(index, (size_t)arg[at->size_arg] * at->size);
	case ARG_IN_STRUCT:
	case ARG_OUT_STRUCT:
	case ARG_INOUT_STRUCT:
		return struct_for(at, index);
	case ARG_IN_SOCKADDR:
		return buffer(index, (size_t)arg[at->size_arg]);
	case ARG_OUT_SOCKADDR:
	case ARG_OUT_SIZED:
		return buffer(index, ADDRESS);
	case ARG_SOCKLEN:
		return memcpy(buffer(index, 4), &(uint32_t){ ADDRESS }, 4);
	case ARG_IOVEC_IN:
	case ARG_IOVEC_OUT:
		return vector_of(index);
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		return message_of(sizeof(struct msghdr));
	case ARG_MSGS_IN:
	case ARG_MSGS_OUT:
		return message_of((size_t)arg[at->size_arg] * at->size);
	case ARG_FDSET:
		return buffer(index, ((size_t)arg[at->size_arg] + 63) / 64 * 8);
	case ARG_ADDRESS:
		return buffer(index, 1024);
	default:
		return NULL;
	}
}

/* Arguments of the call; `fd` is every descriptor, but one that the result must be. */
static void prepare(const struct call_shape *shape, int fd, long *arg)
{
	memset(arg, 0, 6 * sizeof(*arg));
	for (int i = 0; i < shape->arg_count; i++)
		if (shape->arg[i].kind == ARG_VALUE)
			arg[i] = value_for(shape, i);
	for (int i = 0; i < shape->arg_count; i++) {
		if (shape->arg[i].kind == ARG_FD)
			arg[i] = shape->result == RESULT_EXACTLY && shape->result_arg == i ? BOUND : fd;
		else if (shape->arg[i].kind != ARG_VALUE)
			arg[i] = (long)memory_for(shape, i, arg);
	}
}
#endif
