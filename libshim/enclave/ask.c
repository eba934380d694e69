/*
 * ask.c - calls that the runtime decides or serves.
 *
 * Owns: the packet that says what a call is about, and acting on its answer. Must never: go on with a call that the
 * runtime did not answer, or write more into the program's memory than the call's arguments allow. Called by: policy.c.
 *
 *   frame ─► what the arguments point to ─► CALL ─► handlers, policy (Python) ─► go on | result and bytes | file | stop
 */
#include <linux/fcntl.h>
#include "about.h"
#include "ask.h"
#include "control.h"
#include "memory_file.h"
#include "shield.h"

enum { STRINGS_MAX = 57344, VECTORS_MAX = 1024, ERRNO_MAX = 511 };

/* What is being built: a packet of at most CTL_PACKET_MAX bytes. */
struct question {
	struct ctl_call *call;
	size_t size;
	const uint64_t *arg;
	const struct call_shape *shape;
};

/* Begins a string about argument `i`; where its bytes go, and in *room how many may. */
static uint8_t *string_begin(struct question *question, uint32_t i, uint64_t *room)
{
	struct ctl_trace_string *head = (struct ctl_trace_string *)((uint8_t *)question->call + question->size);
	uint64_t left = STRINGS_MAX - question->size;

	*head = (struct ctl_trace_string){ .arg = (uint8_t)i };
	*room = left > sizeof *head ? left - sizeof *head : 0;
	return (uint8_t *)(head + 1);
}

static void string_end(struct question *question, uint64_t size)
{
	struct ctl_trace_string *head = (struct ctl_trace_string *)((uint8_t *)question->call + question->size);

	head->size = (uint16_t)size;
	question->size += sizeof *head + size;
	question->call->string_count++;
}

static long bytes_add(struct question *question, uint32_t i, uint64_t from, uint64_t size)
{
	uint64_t room;
	uint8_t *to = string_begin(question, i, &room);

	if (size > room) {
		size = room;
		question->call->flags |= CTL_CALL_CUT;
	}
	TRY(copy_guarded(to, (const void *)from, size));
	string_end(question, size);
	return 0;
}

static long path_add(struct question *question, uint32_t i)
{
	char path[CTL_PATH_MAX];
	long size = copy_string(path, (const char *)question->arg[i], sizeof path);

	TRY(size);
	return bytes_add(question, i, (uint64_t)path, (uint64_t)size);
}

/* The bytes of all vectors, one after the other. */
static long vectors_add(struct question *question, uint32_t i, uint64_t vectors, uint64_t count)
{
	uint64_t room, done = 0;
	uint8_t *to = string_begin(question, i, &room);

	for (uint64_t at = 0; at < count && at < VECTORS_MAX; at++) {
		struct io_part part;
		uint64_t size;

		TRY(copy_guarded(&part, (const void *)(vectors + at * sizeof part), sizeof part));
		size = part.size < room - done ? part.size : room - done;
		if (size < part.size)
			question->call->flags |= CTL_CALL_CUT;
		TRY(copy_guarded(to + done, (const void *)part.base, size));
		done += size;
	}
	string_end(question, done);
	return 0;
}

static long argument_add(struct question *question, uint32_t i)
{
	const struct arg_shape *at = &question->shape->arg[i];
	const uint64_t *arg = question->arg;
	uint64_t header[4], size;

	if (!arg[i])
		return 0;
	switch ((enum arg_kind)at->kind) {
	case ARG_PATH:
		return path_add(question, i);
	case ARG_IN_SOCKADDR:
		return bytes_add(question, i, arg[i], (uint32_t)arg[at->size_arg]);
	case ARG_IN:
	case ARG_INOUT:
		if (__builtin_mul_overflow(arg[at->size_arg], (uint64_t)(at->size ? at->size : 1), &size))
			return -EINVAL;
		return bytes_add(question, i, arg[i], size);
	case ARG_IN_STRUCT:
	case ARG_INOUT_STRUCT:
		return bytes_add(question, i, arg[i], at->size);
	case ARG_IOVEC_IN:
		return vectors_add(question, i, arg[i], arg[at->size_arg]);
	case ARG_MSG_IN:
		TRY(copy_guarded(header, (const void *)arg[i], sizeof header));
		return vectors_add(question, i, header[2], header[3]);
	default:
		return 0;
	}
}

/* ---- the answer ---- */

/* How many bytes of argument i's memory the call may fill. */
static uint64_t output_room(const struct question *question, uint32_t i)
{
	const struct arg_shape *at = &question->shape->arg[i];
	uint64_t size;

	switch ((enum arg_kind)at->kind) {
	case ARG_OUT:
	case ARG_INOUT:
		return __builtin_mul_overflow(question->arg[at->size_arg], (uint64_t)at->size, &size) ? 0 : size;
	case ARG_OUT_STRUCT:
	case ARG_INOUT_STRUCT:
		return at->size;
	default:
		return 0;
	}
}

static long vectors_fill(uint64_t vectors, uint64_t count, const uint8_t *bytes, uint64_t size)
{
	uint64_t done = 0;

	for (uint64_t at = 0; at < count && at < VECTORS_MAX && done < size; at++) {
		struct io_part part;
		uint64_t piece;

		TRY(copy_guarded(&part, (const void *)(vectors + at * sizeof part), sizeof part));
		piece = part.size < size - done ? part.size : size - done;
		TRY(copy_guarded((void *)part.base, bytes + done, piece));
		done += piece;
	}
	return done < size ? -EIO : 0;
}

static long output_give(const struct question *question, const struct ctl_trace_string *head, const uint8_t *bytes)
{
	const struct arg_shape *at;

	if (head->arg >= question->shape->arg_count || !question->arg[head->arg])
		return -EIO;
	at = &question->shape->arg[head->arg];
	if (at->kind == ARG_IOVEC_OUT)
		return vectors_fill(question->arg[head->arg], question->arg[at->size_arg], bytes, head->size);
	if (head->size > output_room(question, head->arg))
		return -EIO;
	return copy_guarded((void *)question->arg[head->arg], bytes, head->size);
}

static long result_give(const struct question *question, const struct ctl_call_answer *answer, size_t size)
{
	const uint8_t *at = (const uint8_t *)(answer + 1), *end = (const uint8_t *)answer + size;

	for (uint32_t i = 0; i < answer->string_count; i++) {
		struct ctl_trace_string head;

		if ((size_t)(end - at) < sizeof head)
			die("the runtime's answer to a call can't be read");
		memcpy(&head, at, sizeof head);
		at += sizeof head;
		if (head.size > (size_t)(end - at))
			die("the runtime's answer to a call can't be read");
		TRY(output_give(question, &head, at));
		at += head.size;
	}
	return answer->result < -ERRNO_MAX ? -EIO : answer->result;	/* above lie the kernel's and the shim's own signs */
}

uint32_t open_flags(const struct frame *frame)
{
	uint64_t how = 0;

	switch (frame->nr) {
	case __NR_open:
		return (uint32_t)frame->arg[1];
	case __NR_openat:
		return (uint32_t)frame->arg[2];
	case __NR_openat2:
		return copy_guarded(&how, (const void *)frame->arg[2], sizeof how) < 0 ? 0 : (uint32_t)how;
	default:
		return 0;
	}
}

/* The file's bytes follow in packets of their own. */
static long file_give(const struct frame *frame, const struct ctl_call_answer *answer, int from)
{
	const struct memory_file_facts facts = { answer->file_mode, answer->file_uid, answer->file_gid, 0,
						 answer->file_number, answer->file_seconds };
	uint8_t *bytes;
	uint64_t done = 0;
	long result;

	if (answer->file_size > CTL_FILE_MAX)
		die("the runtime serves a file that is too large");
	bytes = pages_map(answer->file_size + 1);
	if (!bytes)
		return -ENOMEM;
	while (done < answer->file_size) {
		result = control_more(from, bytes + done, answer->file_size - done);
		if (result <= 0)
			die("the runtime did not send all of a file");
		done += (uint64_t)result;
	}
	result = memory_file_open(&facts, bytes, answer->file_size, open_flags(frame));
	memset(bytes, 0, answer->file_size);
	gate2(__NR_munmap, bytes, answer->file_size + 1);
	return result;
}

static long answer_take(struct frame *frame, const struct question *question, const struct ctl_call_answer *answer,
			size_t size, int from, enum ctl_scope *scope)
{
	switch ((enum ctl_verdict)answer->verdict) {
	case CTL_GO:
		*scope = (enum ctl_scope)answer->scope;
		return -SHIELD_PLAIN;
	case CTL_RESULT:
		return result_give(question, answer, size);
	case CTL_FILE:
		return file_give(frame, answer, from);
	case CTL_STOP:
		die("the policy stops a program that makes this call");
	}
	die("the runtime's answer to a call can't be read");
}

static long question_build(struct question *question, const struct frame *frame, const struct about *about, uint32_t count)
{
	struct ctl_call *call = question->call;

	call->nr = (uint32_t)frame->nr;
	memcpy(call->args, frame->arg, sizeof call->args);
	question->size = sizeof *call;
	if (count && about->is_datagram)
		call->flags |= CTL_CALL_DATAGRAM;
	for (uint32_t i = 0; i < count; i++)
		TRY(bytes_add(question, about[i].kind, (uint64_t)about[i].bytes, about[i].size));
	for (uint32_t i = 0; i < question->shape->arg_count; i++)
		if (argument_add(question, i) < 0)
			call->flags |= CTL_CALL_CUT;	/* the kernel's own error, or memory that it does not need */
	return 0;
}

long ask_runtime(struct frame *frame, const struct call_shape *shape, const struct about *about, uint32_t count,
		 enum ctl_scope *scope)
{
	uint8_t *packet = pages_map(2 * CTL_PACKET_MAX);
	struct question question = { .call = (struct ctl_call *)packet, .arg = frame->arg, .shape = shape };
	struct ctl_call_answer *answer = (struct ctl_call_answer *)(packet + CTL_PACKET_MAX);
	long result;
	int from;

	*scope = CTL_SCOPE_NONE;
	if (!packet)
		return -ENOMEM;
	result = question_build(&question, frame, about, count);
	if (result == 0) {
		result = control_call(question.call, question.size, answer, CTL_PACKET_MAX, &from);
		if (result < (long)sizeof *answer)
			die("the runtime host is gone: nobody can decide about a call");
		result = answer_take(frame, &question, answer, (size_t)result, from, scope);
		gate1(__NR_close, from);
	}
	gate2(__NR_munmap, packet, 2 * CTL_PACKET_MAX);
	return result;
}
