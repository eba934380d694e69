/*
 * replies.c - fuzz target: whole calls, from the handler to the program's memory, with a host made of the input.
 *
 * Owns: a fake ring and gate whose results and memory come from the input; a program whose buffers are exactly as large
 * as its calls say. Must never: model the host's good manners: everything it may write is written. The real files under
 * it: check, believe and the predicates, pass, marshal, multiplex, poll, fd, transfer, accept, process, epoll.
 * Run by: tools/fuzz and tests/fuzz/test_fuzz.py, with AddressSanitizer and UndefinedBehaviorSanitizer.
 *
 *   input: mode, call, flags, sizes, result, then the bytes of all replies (again from the start when they run out)
 */
#include "calls.gen.h"
#include "check.h"
#include "descriptor.h"
#include "epoll.h"
#include "ring.h"
#include "stream.h"
#include "subshape.h"
#include "multiplex.h"
#include "untrusted.h"
#include "target.h"

enum { BUFFERS_MAX = 32, LANES_MAX = 64, VECTORS = 3, CALLS_MAX = 512, F_GETOWN = 9, GROUP_MAX = 1 << 22,
       MESSAGE_WORDS = 8, MESSAGES_MADE = 2, MSG_TRUNC_ = 0x20 };

struct enclave enclave = { .control_fd = -1 };

static struct thread this_thread;
static struct { void *bytes; size_t size; bool is_out; } buffers[BUFFERS_MAX];
static struct { void *bytes; size_t size; } lanes[LANES_MAX];
static size_t buffer_count, lane_count;
static struct { const uint8_t *bytes; size_t size, at; } input;
static uint16_t leaving[CALLS_MAX];
static size_t leaving_count;
static long reply;
static uint64_t *message;	/* the program's msghdr of a call that receives */
static uint64_t *messages, message_count;	/* or its mmsghdrs of a call that sends or receives */
static uint32_t wishes;		/* bits of the input that decide small things */

static uint8_t next(void)
{
	if (!input.size)
		return 0;
	if (input.at == input.size)
		input.at = 0;
	return input.bytes[input.at++];
}

static uint64_t next_number(size_t size)
{
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number |= (uint64_t)next() << 8 * i;
	return number;
}

static void fill(void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] = next();
}

/* ---- the host ---- */

void host_before(void *shared, size_t size)
{
	(void)shared, (void)size;
}

/* What was read is something else from now on. */
void host_after(void *shared, size_t size)
{
	uint8_t change = next();

	for (size_t i = 0; change && i < size; i++)
		((uint8_t *)shared)[i] ^= change;
}

long ring_call(struct thread *thread, long nr, const long args[6], enum ring_class class)
{
	(void)thread, (void)nr, (void)args, (void)class;
	for (size_t i = 0; i < lane_count; i++)
		fill(lanes[i].bytes, lanes[i].size);
	return reply == -GATE_RESTART ? -EIO : reply;	/* ring.c stops a helper that says it */
}

long ring_turn(struct thread *thread, long nr, const long args[6], enum ring_class class, struct ring_ahead ahead[64],
	       size_t *ahead_count)
{
	static int turns;
	long result = ring_call(thread, nr, args, class);

	*ahead_count = 0;
	if (result > 0 && ++turns % 8 == 0)
		return 0;	/* a host that has nothing but unknown events to tell for ever is a host that stalls */
	if (result > 0 && result <= args[2])
		for (; *ahead_count < (size_t)result && *ahead_count < 4; ++*ahead_count)
			ahead[*ahead_count] = (struct ring_ahead){ .event = (uint32_t)*ahead_count, .result = -EAGAIN };
	return result;
}

long gate_interruptible(long nr, long a, long b, long c, long d, long e, long f)
{
	static int turns;

	(void)nr, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
	for (size_t i = 0; i < buffer_count; i++)
		if (buffers[i].is_out)
			fill(buffers[i].bytes, buffers[i].size);
	if (message) {
		message[1] = (uint32_t)next_number(2);
		message[5] = wishes & 64 ? next_number(8) : next();
	}
	for (uint64_t i = 0; i < message_count; i++) {
		uint64_t *each = messages + i * MESSAGE_WORDS;

		each[1] = (uint32_t)next_number(2);
		each[5] = wishes & 64 ? next_number(8) : next();
		each[7] = wishes & 128 ? next_number(4) : next();
	}
	return reply > 0 && ++turns % 8 == 0 ? 0 : reply;
}

long gate_frame(const struct frame *frame)
{
	const uint64_t *arg = frame->arg;

	return gate_interruptible((long)(uint32_t)frame->nr, (long)arg[0], (long)arg[1], (long)arg[2], (long)arg[3], (long)arg[4],
		    (long)arg[5]);
}

long gate6(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)b, (void)c, (void)d, (void)e, (void)f;
	if (nr == __NR_munmap)
		free((void *)a);
	return nr == __NR_munmap ? 0 : -ENOSYS;
}

/* ---- the rest of the enclave ---- */

bool ring_attach(struct thread *thread)
{
	(void)thread;
	return true;
}

void *lane_data(struct thread *thread, size_t size)
{
	(void)thread;
	if (lane_count == LANES_MAX || size > 1 << 20)
		return NULL;
	lanes[lane_count].bytes = malloc(size);
	lanes[lane_count].size = size;
	return lanes[lane_count++].bytes;
}

void lane_data_release(struct thread *thread)
{
	(void)thread;
	while (lane_count)
		free(lanes[--lane_count].bytes);
}

void *pages_map(size_t size)
{
	return calloc(1, size);
}

void mutex_lock(struct mutex *mutex)
{
	if (mutex->state++)
		target_failed("a mutex is taken twice", mutex->state);
}

void mutex_unlock(struct mutex *mutex)
{
	if (--mutex->state)
		target_failed("a mutex is given back twice", mutex->state);
}

long return_by_jump(long result)
{
	return result;
}

long copy_guarded(void *to, const void *from, size_t size)
{
	if ((uint64_t)to < PAGE_SIZE || (uint64_t)from < PAGE_SIZE)
		return size ? -EFAULT : 0;
	__builtin_memmove(to, from, size);
	return 0;
}

long copy_string(char *to, const char *from, size_t capacity)
{
	size_t size = string_size(from);

	if (size >= capacity)
		return -ENAMETOOLONG;
	__builtin_memcpy(to, from, size + 1);
	return (long)size;
}

bool string_starts(const char *string, const char *prefix)
{
	return __builtin_strncmp(string, prefix, __builtin_strlen(prefix)) == 0;
}

bool string_equal(const char *a, const char *b)
{
	return __builtin_strcmp(a, b) == 0;
}

size_t string_size(const char *string)
{
	return __builtin_strlen(string);
}

_Noreturn void die(const char *reason)
{
	target_failed(reason, 0);	/* nothing that these files are told is a reason to stop */
}

long deny(uint32_t nr, uint32_t error)
{
	(void)nr;
	return -(long)error;
}

static struct descriptor descriptors[16];

struct descriptor *descriptor_of(int fd)
{
	return fd >= 0 && fd < 16 ? &descriptors[fd] : NULL;
}

int descriptor_next_epoll(int fd)
{
	while (++fd < 16)
		if (descriptors[fd].epoll)
			return fd;
	return -1;
}

enum descriptor_kind descriptor_kind(int fd)
{
	(void)fd;
	return wishes & 1 ? KIND_SOCKET : KIND_FILE;
}

bool signal_restarts(const struct thread *thread)
{
	(void)thread;
	return wishes & 2;
}

/* ---- the program ---- */

static void *buffer(size_t size, bool is_out)
{
	void *bytes = malloc(size ? size : 1);

	if (buffer_count == BUFFERS_MAX)
		target_failed("buffers", BUFFERS_MAX);
	__builtin_memset(bytes, 0, size ? size : 1);
	buffers[buffer_count].bytes = bytes;
	buffers[buffer_count].size = size;
	buffers[buffer_count++].is_out = is_out;
	return bytes;
}

static struct io_part *vectors_make(bool is_out)
{
	struct io_part *parts = buffer(VECTORS * sizeof *parts, false);

	for (int i = 0; i < VECTORS; i++) {
		parts[i].size = next() % 40;
		parts[i].base = (uint64_t)buffer(parts[i].size, is_out);
	}
	return parts;
}

/* struct msghdr. By the gate the host writes its sizes only: an address in it would not be the kernel's to write. */
static void message_fill(uint64_t *made, bool is_out)
{
	uint64_t name_size = next() % 140, control_size = next();

	made[0] = (uint64_t)buffer(name_size, is_out);
	made[1] = name_size;
	made[2] = (uint64_t)vectors_make(is_out);
	made[3] = VECTORS;
	made[4] = (uint64_t)buffer(control_size, is_out);
	made[5] = control_size;
}

static uint64_t *message_make(bool is_out)
{
	uint64_t *made = buffer(7 * sizeof *made, false);

	message_fill(made, is_out);
	message = is_out ? made : NULL;
	return made;
}

/* struct mmsghdr, the first ones with something in them. */
static uint64_t *messages_make(uint64_t count, bool is_out)
{
	messages = buffer(count * MESSAGE_WORDS * sizeof *messages, false);
	message_count = count;
	for (uint64_t i = 0; i < count && i < MESSAGES_MADE; i++)
		message_fill(messages + i * MESSAGE_WORDS, is_out);
	return messages;
}

/* ioctl, fcntl and the rest go by the size that the command's row gives. */
static size_t command_size(uint32_t nr, uint64_t *arg)
{
	const struct sub_table *table = nr == __NR_ioctl ? &ioctl_table : nr == __NR_fcntl ? &fcntl_table : NULL;
	const struct sub_shape *row = table ? &table->rows[next_number(2) % table->count] : NULL;

	if (!row)
		return 256;
	arg[1] = row->command;
	return row->arg.size ? row->arg.size : 8;
}

static uint64_t memory_make(uint32_t nr, const struct call_shape *shape, uint32_t i, uint64_t *arg)
{
	const struct arg_shape *at = &shape->arg[i];
	uint32_t *length;

	switch ((enum arg_kind)at->kind) {
	case ARG_PATH:
		return (uint64_t)__builtin_memcpy(buffer(6, false), "there", 6);
	case ARG_IN:
	case ARG_IN_SOCKADDR:
		return (uint64_t)buffer(arg[at->size_arg] * (at->size ? at->size : 1), false);
	case ARG_OUT:
	case ARG_INOUT:
		return (uint64_t)buffer(arg[at->size_arg] * at->size, true);
	case ARG_IN_STRUCT:
		return (uint64_t)buffer(at->size, false);
	case ARG_OUT_STRUCT:
	case ARG_INOUT_STRUCT:
		return (uint64_t)buffer(at->size, true);
	case ARG_OUT_SOCKADDR:
	case ARG_OUT_SIZED:
		length = buffer(4, true);
		*length = next();
		arg[at->size_arg] = (uint64_t)length;
		return (uint64_t)buffer(*length, true);
	case ARG_IOVEC_IN:
	case ARG_IOVEC_OUT:
		arg[at->size_arg] = VECTORS;
		return (uint64_t)vectors_make(at->kind == ARG_IOVEC_OUT);
	case ARG_MSG_IN:
	case ARG_MSG_OUT:
		return (uint64_t)message_make(at->kind == ARG_MSG_OUT);
	case ARG_MSGS_IN:
	case ARG_MSGS_OUT:
		return (uint64_t)messages_make(arg[at->size_arg], at->kind == ARG_MSGS_OUT);
	case ARG_FDSET:
		return (uint64_t)buffer((arg[at->size_arg] + 63) / 64 * 8, true);
	case ARG_ADDRESS:
		return (uint64_t)buffer(command_size(nr, arg), true);
	default:
		return arg[i];
	}
}

static void frame_make(struct frame *frame, uint32_t nr)
{
	const struct call_shape *shape = &call_shapes[nr];

	*frame = (struct frame){ .nr = nr };
	message = messages = NULL;
	message_count = 0;
	for (uint32_t i = 0; i < shape->arg_count; i++)
		frame->arg[i] = shape->arg[i].kind == ARG_VALUE ? next() % 96 : shape->arg[i].kind == ARG_FD ? next() % 18 : 0;
	for (uint32_t i = 0; i < shape->arg_count; i++)
		if (shape->arg[i].kind > ARG_FD && shape->arg[i].kind != ARG_SOCKLEN)
			frame->arg[i] = memory_make(nr, shape, i, frame->arg);
	if (nr == __NR_getsockopt || nr == __NR_setsockopt) {
		const struct sub_shape *row = &sockopt_table.rows[next_number(2) % sockopt_table.count];

		frame->arg[1] = row->command >> 32;
		frame->arg[2] = (uint32_t)row->command;
	}
}

static void messages_judge(const struct frame *frame, long result)
{
	for (long i = 0; i < result; i++) {
		const uint64_t *each = messages + i * MESSAGE_WORDS;
		const struct io_part *parts = (const struct io_part *)each[2];
		uint64_t sum = 0;

		for (uint64_t part = 0; part < each[3]; part++)
			sum += parts[part].size;
		if ((uint32_t)each[7] > sum && !(frame->nr == __NR_recvmmsg && frame->arg[3] & MSG_TRUNC_))
			target_failed("a message's length", (long)each[7]);
		if (frame->nr == __NR_recvmmsg && each[5] > 255)
			target_failed("a control size", (long)each[5]);
	}
}

/* What the program got, if it was told that the call succeeded, is what the spec believes. */
static void judge(const struct frame *frame, long result)
{
	const struct call_shape *shape = &call_shapes[frame->nr];

	if (frame->nr == __NR_fcntl && frame->arg[1] == F_GETOWN && result >= -GROUP_MAX)
		return;		/* a process group is a negative number */
	if (result < -4095)
		target_failed(shape->name, result);
	if (result >= 0 && shape->result == RESULT_ZERO && result)
		target_failed(shape->name, result);
	if (result > 0 && shape->result == RESULT_AT_MOST && !(shape->flags & (CALL_MSG_TRUNC | CALL_SIZE_QUERY)) &&
	    (uint64_t)result > frame->arg[shape->result_arg])
		target_failed(shape->name, result);
	if (messages)
		messages_judge(frame, result);
	for (uint32_t i = 0; result >= 0 && i < shape->arg_count; i++) {
		const struct arg_shape *at = &shape->arg[i];

		if (at->kind == ARG_OUT_STRUCT && at->check && frame->arg[i] && !at->check((void *)frame->arg[i]))
			target_failed(shape->name, (long)i);
		if (at->kind == ARG_OUT_SOCKADDR && *(uint32_t *)frame->arg[at->size_arg] > 128)
			target_failed(shape->name, (long)i);
	}
}

static void start(void)
{
	this_thread.self = &this_thread;
	target_gs_set(&this_thread);
	for (uint32_t nr = 0; nr < CALL_COUNT; nr++)
		if (call_shapes[nr].name && call_shapes[nr].route == ROUTE_HOST)
			leaving[leaving_count++] = (uint16_t)nr;
}

static bool is_epoll(uint32_t nr)
{
	return nr == __NR_epoll_wait || nr == __NR_epoll_pwait || nr == __NR_epoll_pwait2 || nr == __NR_epoll_ctl;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct frame frame;
	uint32_t nr;
	long result;

	if (!leaving_count)
		start();
	input.bytes = bytes;
	input.size = size;
	input.at = 0;
	wishes = next();
	enclave.mode = wishes & 4 ? MODE_ASYNC : MODE_SYNC;
	enclave.is_exit_dear = true;	/* all that can crosses by the ring */
	nr = leaving[next_number(2) % leaving_count];
	reply = wishes & 8 ? (long)next_number(8) : wishes & 16 ? -(long)(next() % 160) : (long)(next() % 100);
	frame_make(&frame, nr);
	if (is_epoll(nr))
		frame.arg[0] = 3;
	this_thread.signal_pending = wishes >> 5 & 1;
	result = call_shapes[nr].handler(&frame);
	if (result != -GATE_RESTART || !this_thread.signal_pending)
		judge(&frame, result);
	lane_data_release(&this_thread);
	while (buffer_count)
		free(buffers[--buffer_count].bytes);
	return 0;
}
