/*
 * hostile_harness.c - tells every generated lie to the enclave's real check.c and predicates, and every truth as well.
 *
 * Owns: stand-ins for what they use of the enclave. Must never: judge a reply itself. Built and run by
 * test_hostile.py, with AddressSanitizer and UndefinedBehaviorSanitizer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <asm/prctl.h>
#include "check.h"
#include "control.h"
#include "hostile.gen.h"
#include "predicates.h"
#include "../hostile/arguments.h"

static struct thread this_thread;
static char bytes[BOUND];
static struct iovec vectors[2] = { { bytes, BOUND / 2 }, { bytes, BOUND / 2 } };
static struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };
static unsigned long failures, exceptions, lies, truths;
static struct { void *bytes; size_t size; } buffers[BUFFERS];
static const struct hostile_reply *being_told;

/* Exactly as large as it is asked for: ASan sees what is read past it. */
static void *buffer(int index, size_t size)
{
	free(buffers[index].bytes);
	buffers[index].bytes = calloc(1, size ? size : 1);
	buffers[index].size = size;
	return buffers[index].bytes;
}

void *pages_map(size_t size)
{
	return calloc(1, size);
}

long gate6(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)b, (void)c, (void)d, (void)e, (void)f;
	if (nr != __NR_munmap)
		exit(4);
	free((void *)a);
	return 0;
}

_Noreturn void die(const char *reason)
{
	printf("died: %s\n", reason);
	exit(5);
}

long copy_guarded(void *to, const void *from, size_t size)
{
	__builtin_memcpy(to, from, size);
	return 0;
}

bool control_event(uint32_t kind, uint32_t nr, const char *text)
{
	(void)kind, (void)nr, (void)text;
	return true;
}

void text_add(struct text *text, const char *string)
{
	(void)text, (void)string;
}

void text_add_number(struct text *text, long number)
{
	(void)text, (void)number;
}

/* Arguments for which a bounded result may be at most BOUND. */
static void fill_arguments(const struct call_shape *shape, uint64_t *arg)
{
	const struct arg_shape *bound = &shape->arg[shape->result_arg];

	for (int i = 0; i < 6; i++)
		arg[i] = 0;
	if (shape->result == RESULT_AT_MOST || shape->result == RESULT_COUNT || shape->result == RESULT_EXACTLY ||
	    shape->result == RESULT_AT_LEAST)
		arg[shape->result_arg] = BOUND;
	if (shape->result != RESULT_AT_MOST_SUM)
		return;
	arg[shape->result_arg] = (uint64_t)(uintptr_t)&message;
	if (bound->kind == ARG_IOVEC_IN || bound->kind == ARG_IOVEC_OUT) {
		arg[shape->result_arg] = (uint64_t)(uintptr_t)vectors;
		arg[bound->size_arg] = 2;
	}
}

/*
 * Whether the program gets the result. It never gets -GATE_RESTART: the dispatcher makes the call again, so a host that
 * forges it wins nothing but time.
 */
static int is_taken(uint32_t nr, const struct call_shape *shape, long result)
{
	uint64_t arg[6], before = this_thread.stats.refused_replies;
	long given;

	fill_arguments(shape, arg);
	given = check_result(nr, shape, arg, result);
	if (this_thread.stats.refused_replies != before || given == -GATE_RESTART)
		return 0;
	if (given != result)
		exit(2);	/* neither refused nor handed on */
	return 1;
}

static void fail(const char *what, const char *call, const char *field, long value)
{
	failures++;
	printf("%s: %s %s %ld\n", what, call, field ? field : "", value);
}

static void tell_result(const struct hostile_reply *lie)
{
	struct call_shape command = { .name = lie->call };
	const struct call_shape *shape = lie->table ? &command : &call_shapes[lie->nr];
	long result = lie->kind == HOSTILE_BOUND ? BOUND + lie->value : lie->value;

	if (lie->table)
		command.result = sub_find(lie->table, lie->nr)->result;
	if (is_taken(lie->table ? __NR_ioctl : (uint32_t)lie->nr, shape, result))
		fail("believed", lie->call, lie->field, result);
}

static void tell_field(const struct hostile_reply *lie)
{
	struct arg_shape shape = { .kind = ARG_OUT_STRUCT, .size = lie->base_size, .check = lie->check };
	uint8_t *reply = malloc(lie->base_size);	/* exactly: ASan sees a check that reads past it */

	__builtin_memcpy(reply, lie->base, lie->base_size);
	if (check_struct(0, &shape, reply, 1) < 0)
		fail("refused a believable struct", lie->call, lie->field, 0);
	if (lie->kind == HOSTILE_TEXT)
		__builtin_memset(reply + lie->offset, (int)lie->value, lie->size);
	else
		__builtin_memcpy(reply + lie->offset, &lie->value, lie->size);
	if (check_struct(0, &shape, reply, 1) == 0)
		fail("believed", lie->call, lie->field, lie->value);
	free(reply);
}

/* An exit by which the host answers as it is told to. */
static long lying(struct frame *frame, const struct call_shape *shape)
{
	for (uint32_t i = 0; i < being_told->write_count; i++) {
		const struct hostile_write *write = &being_told->writes[i];
		uint8_t *at = (uint8_t *)frame->arg[write->arg];

		if (write->via)
			__builtin_memcpy(&at, at + write->via - 1, sizeof at);
		__builtin_memcpy(at + write->offset, write->bytes, write->size);
	}
	return check_result((uint32_t)frame->nr, shape, frame->arg, being_told->value);
}

/* Whether inout argument i, of which `before` is a copy, is as it was; outs are the host's. */
static int is_as_it_was(const struct call_shape *shape, int i, const uint8_t *before)
{
	uint32_t kind = shape->arg[i].kind;

	return (kind != ARG_INOUT && kind != ARG_INOUT_STRUCT && kind != ARG_FDSET && kind != ARG_SOCKLEN &&
		kind != ARG_MSG_OUT && kind != ARG_MSGS_IN && kind != ARG_MSGS_OUT) ||
	       __builtin_memcmp(buffers[i].bytes, before, buffers[i].size) == 0;
}

static void tell_content(const struct hostile_reply *lie)
{
	const struct call_shape *shape = &call_shapes[lie->nr];
	uint64_t before = this_thread.stats.refused_replies;
	static uint8_t copies[6][BOUND * 64];
	struct frame frame = { .nr = lie->nr };
	long result;

	being_told = lie;
	prepare(shape, 3, (long *)frame.arg);
	for (int i = 0; i < 6; i++)
		if (buffers[i].bytes)
			__builtin_memcpy(copies[i], buffers[i].bytes, buffers[i].size);
	result = believe(&frame, shape, lying);
	if (lie->kind == HOSTILE_TRUTH && (result != lie->value || this_thread.stats.refused_replies != before))
		fail("refused", lie->call, lie->field, lie->value);
	if (lie->kind == HOSTILE_CONTENT && (result != -EIO || this_thread.stats.refused_replies != before + 1))
		fail("believed", lie->call, lie->field, lie->value);
	for (int i = 0; lie->kind == HOSTILE_CONTENT && i < shape->arg_count; i++)
		if (frame.arg[i] && !is_as_it_was(shape, i, copies[i]))
			fail("not put back", lie->call, lie->field, i);
}

static void tell(const struct hostile_reply *lie)
{
	if (lie->kind == HOSTILE_CONTENT || lie->kind == HOSTILE_TRUTH)
		tell_content(lie);
	else if (lie->kind == HOSTILE_FIELD || lie->kind == HOSTILE_TEXT)
		tell_field(lie);
	else
		tell_result(lie);
	if (lie->kind == HOSTILE_TRUTH)
		truths++;
	else
		lies++;
}

static void tell_truths(uint32_t nr)
{
	const struct call_shape *shape = &call_shapes[nr];
	int is_bounded = shape->result == RESULT_AT_MOST || shape->result == RESULT_AT_MOST_SUM ||
		shape->result == RESULT_COUNT || shape->result == RESULT_EXACTLY;

	if (shape->result != RESULT_NEVER && shape->result != RESULT_EXACTLY && !is_taken(nr, shape, 0))
		fail("refused the result", shape->name, NULL, 0);
	if (is_bounded && !is_taken(nr, shape, BOUND))
		fail("refused the result", shape->name, NULL, BOUND);
	for (long error = 1; error < 192; error++)
		if (shape->errnos[error / 64] & 1UL << error % 64 && !is_taken(nr, shape, -error))
			fail("refused the error", shape->name, NULL, error);
}

/* What may pass the bound, and only when the program asked for it. */
static void tell_exceptions(uint32_t nr)
{
	const struct call_shape *shape = &call_shapes[nr];
	uint32_t is_query = shape->flags & CALL_SIZE_QUERY;
	uint64_t arg[6], before = this_thread.stats.refused_replies;

	if (!(shape->flags & (CALL_SIZE_QUERY | CALL_MSG_TRUNC)))
		return;
	fill_arguments(shape, arg);
	arg[shape->result_arg + (is_query ? 0 : 1)] = is_query ? 0 : MSG_TRUNC | MSG_PEEK;
	if (check_result(nr, shape, arg, BOUND * 2) != BOUND * 2)
		fail("refused the size wanted", shape->name, NULL, BOUND * 2);
	if (check_result(nr, shape, arg, 1L << 31) >= 0 || this_thread.stats.refused_replies == before)
		fail("believed", shape->name, "size wanted", 1L << 31);
	exceptions++;
}

int main(void)
{
	this_thread.self = &this_thread;
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &this_thread))
		return 3;
	for (size_t i = 0; i < hostile_reply_count; i++)
		tell(&hostile_replies[i]);
	for (uint32_t nr = 0; nr < CALL_COUNT; nr++)
		if (call_shapes[nr].name && call_shapes[nr].route == ROUTE_HOST) {
			tell_truths(nr);
			tell_exceptions(nr);
		}
	printf("%lu lies told, %lu truths, %lu exceptions, %lu wrong\n", lies, truths, exceptions, failures);
	return failures != 0;
}
