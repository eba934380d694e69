/*
 * trace.c - what a call was, told to the runtime.
 *
 * Owns: the trace record and which of the program's strings go with it. Must never: run when no trace was asked for.
 * Called by: dispatch.c.
 */
#include "dispatch.h"
#include "control.h"

enum { STRING_MAX = 256, STRUCT_MAX = 1024, PACKET_SIZE = 8192 };

static size_t string_add(uint8_t *packet, size_t at, uint32_t i, uint8_t kind, uint64_t from, uint64_t size)
{
	struct ctl_trace_string head = { .arg = (uint8_t)i, .kind = kind };

	if (at + sizeof head + size > PACKET_SIZE || copy_guarded(packet + at + sizeof head, (void *)from, size) < 0)
		return at;
	head.size = (uint16_t)size;
	memcpy(packet + at, &head, sizeof head);
	((struct ctl_trace *)packet)->string_count++;
	return at + sizeof head + size;
}

static uint64_t at_most(uint64_t size)
{
	return size < STRING_MAX ? size : STRING_MAX;
}

static size_t argument_add(uint8_t *packet, size_t at, const struct call_shape *shape, const uint64_t *arg, uint32_t i,
			   long result)
{
	const struct arg_shape *argument = &shape->arg[i];
	char path[STRING_MAX];
	long size;

	if (!arg[i])
		return at;
	switch ((enum arg_kind)argument->kind) {
	case ARG_PATH:
		size = copy_string(path, (const char *)arg[i], sizeof path);
		return size < 0 ? at : string_add(packet, at, i, 0, arg[i], (uint64_t)size);
	case ARG_IN:
	case ARG_IN_SOCKADDR:
		return string_add(packet, at, i, 0, arg[i],
				  at_most(arg[argument->size_arg] * (argument->size ? argument->size : 1)));
	case ARG_OUT:
		return result > 0 ? string_add(packet, at, i, 1, arg[i], at_most((uint64_t)result * argument->size)) : at;
	case ARG_IN_STRUCT:
		return argument->size > STRUCT_MAX ? at : string_add(packet, at, i, 0, arg[i], argument->size);
	case ARG_OUT_STRUCT:
	case ARG_INOUT_STRUCT:
		return result < 0 || argument->size > STRUCT_MAX ? at : string_add(packet, at, i, 1, arg[i], argument->size);
	default:
		return at;
	}
}

void trace_call(const struct frame *frame, const uint64_t *arg, uint32_t nr, long result, uint32_t exit,
		uint64_t ns)
{
	uint8_t packet[PACKET_SIZE] __attribute__((aligned(8)));
	struct ctl_trace *record = (struct ctl_trace *)packet;
	const struct call_shape *shape = &call_shapes[nr];
	size_t at = sizeof *record;

	memset(record, 0, sizeof *record);
	record->nr = nr;
	record->door = (uint32_t)frame->door;
	record->route = shape->route;
	record->result = result;
	record->exit = exit;
	record->ns = ns;
	memcpy(record->args, arg, sizeof record->args);
	for (uint32_t i = 0; i < shape->arg_count; i++)
		at = argument_add(packet, at, shape, arg, i, result);
	control_trace(record, at);
}
