/*
 * believe.c - calls whose row has a predicate: what they asked is remembered, and held against the reply.
 *
 * Owns: the copies of inout arguments, which the host may overwrite by either exit. Must never: know a particular call;
 * or write what the kernel wouldn't, another thread may be using it. Called by: pass.c.
 *
 *   inout arguments ─► copies ─► exit ─► result, errno, fields (check.c) ─► predicate ─► believed: the result
 *                         └──────────────── put back ◄──────────────────────────┴─────── refused: -EIO
 */
#include "check.h"
#include "predicates.h"

enum { HERE = 4096, ASKED_MAX = 1 << 24, MESSAGE_SIZE = 56 };

/* Bytes of argument i that the host may change and a predicate may ask for; no more than it can have use of. */
static size_t size_of(const struct reply *reply, uint32_t i)
{
	const struct arg_shape *at = &reply->shape->arg[i];
	uint64_t count = (uint32_t)reply->arg[at->size_arg], size = 0;

	if (at->kind == ARG_INOUT || at->kind == ARG_MSGS_IN || at->kind == ARG_MSGS_OUT)
		size = count * at->size;
	if (at->kind == ARG_INOUT_STRUCT || at->kind == ARG_SOCKLEN)
		size = at->size;
	if (at->kind == ARG_MSG_OUT)
		size = MESSAGE_SIZE;
	if (at->kind == ARG_FDSET && (int32_t)count > 0)
		size = (count + 63) / 64 * 8;
	return reply->arg[i] ? size < ASKED_MAX ? size : ASKED_MAX : 0;
}

/* Copies what is there of `size` bytes: counts may be larger than the memory, where the kernel looks at fewer. */
static size_t copy_readable(uint8_t *to, uint64_t from, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t piece = PAGE_SIZE - (from + done) % PAGE_SIZE;

		if (piece > size - done)
			piece = size - done;
		if (copy_guarded(to + done, (const void *)(from + done), piece) < 0)
			break;
		done += piece;
	}
	return done;
}

/* Room for all copies, each rounded up; asked_size says how much is to be copied. */
static size_t room_size(struct reply *reply)
{
	size_t size = 0;

	for (uint32_t i = 0; i < reply->shape->arg_count; i++) {
		reply->asked_size[i] = size_of(reply, i);
		size += (reply->asked_size[i] + 15) & ~15UL;
	}
	return size;
}

static void ask(struct reply *reply, uint8_t *room)
{
	for (uint32_t i = 0; i < reply->shape->arg_count; i++) {
		size_t size = reply->asked_size[i];

		reply->asked[i] = size ? room : NULL;
		if (!size)
			continue;
		reply->asked_size[i] = copy_readable(room, reply->arg[i], size);
		room += (size + 15) & ~15UL;
	}
}

/* `size` bytes in steps of `step`, of each of which the part at `at` is the host's to change. What didn't change isn't
 * written. */
static void put_back(uint64_t to, const uint8_t *asked, size_t size, size_t step, size_t at, size_t part)
{
	for (size_t done = 0; done + at + part <= size; done += step) {
		uint8_t now[8];

		if (copy_guarded(now, (const void *)(to + done + at), part) < 0)
			return;
		if (memcmp(now, asked + done + at, part) && copy_guarded((void *)(to + done + at), asked + done + at, part) < 0)
			return;
	}
}

static void asked_put_back(const struct reply *reply)
{
	for (uint32_t i = 0; i < reply->shape->arg_count; i++) {
		const struct arg_shape *at = &reply->shape->arg[i];
		size_t size = reply->asked_size[i];

		if (!reply->asked[i])
			continue;
		if (at->back_size)
			put_back(reply->arg[i], reply->asked[i], size, at->size, at->back_at, at->back_size);
		else
			put_back(reply->arg[i], reply->asked[i], size, size % 8 ? 4 : 8, 0, size % 8 ? 4 : 8);
	}
}

long believe(struct frame *frame, const struct call_shape *shape, way_out way)
{
	uint8_t here[HERE] __attribute__((aligned(16))), *room = here;
	struct reply reply;		/* not cleared: of its arrays as much is used as there are arguments */
	size_t size;
	long result;

	reply.nr = (uint32_t)frame->nr;
	reply.shape = shape;
	reply.arg = frame->arg;
	size = room_size(&reply);
	if (size > sizeof here)
		room = pages_map(size);
	if (!room)
		return -ENOMEM;
	ask(&reply, room);
	result = reply.result = way(frame, shape);
	if (result >= 0 || result == -EINTR)
		result = shape->believe(&reply);
	if (result == -EIO && reply.result != -EIO)
		asked_put_back(&reply);
	if (room != here)
		gate2(__NR_munmap, room, size);
	return result;
}
