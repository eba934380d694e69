/*
 * answers.c - fuzz target: what the runtime answers to HELLO, EXEC, SITES and CALL, made of the input.
 *
 * Owns: a fake gate whose reads on the answers' sockets come from the input; a program whose buffers are exactly as large
 * as its calls say. Must never: model good manners. An answer that can't be read may stop the program (die), never reach
 * past a buffer. The real files under it: control, ask, policy, about, memory_file, shield.
 * Run by: tools/fuzz and tests/fuzz/test_fuzz.py, with AddressSanitizer and UndefinedBehaviorSanitizer.
 *
 *   input: what is asked, then packets: size (2 bytes), whether its head is well-formed, bytes
 */
#include <setjmp.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include "about.h"
#include "alive.h"
#include "ask.h"
#include "calls.gen.h"
#include "control.h"
#include "descriptor.h"
#include "memory_file.h"
#include "policy.h"
#include "shield.h"
#include "shim_abi.h"
#include "volumes.h"
#include "target.h"

enum { BLOCKS_MAX = 512, ANSWER_FD = 100, FIRST_FD = 20, NUMBERS = 64, ROOM_MAX = 200, SITES_MAX = 64 };

struct enclave enclave = { .control_fd = 5, .flags = FLAG_POLICY };
const struct shim_image shim_image;

static struct thread this_thread;
static struct descriptor numbers[NUMBERS];
static struct { const uint8_t *bytes; size_t size, at; } input;
static struct { void *bytes; size_t size; } blocks[BLOCKS_MAX];
static size_t block_count;
static jmp_buf stopped;
static int next_fd;

static uint8_t next(void)
{
	return input.at < input.size ? input.bytes[input.at++] : 0;
}

static uint64_t next_number(size_t size)
{
	uint64_t number = 0;

	for (size_t i = 0; i < size; i++)
		number |= (uint64_t)next() << 8 * i;
	return number;
}

/* ---- memory ---- */

void *pages_map(size_t size)
{
	if (block_count == BLOCKS_MAX || size > CTL_FILE_MAX + 65536)
		return NULL;
	blocks[block_count].size = size;
	blocks[block_count].bytes = calloc(1, size ? size : 1);
	return blocks[block_count++].bytes;
}

static long unmap(void *bytes)
{
	for (size_t i = 0; i < block_count; i++)
		if (blocks[i].bytes == bytes) {
			free(bytes);
			blocks[i] = blocks[--block_count];
			return 0;
		}
	target_failed("unmapped what was not mapped", (long)bytes);
}

long copy_guarded(void *to, const void *from, size_t size)
{
	__builtin_memcpy(to, from, size);
	return 0;
}

long copy_string(char *to, const char *from, size_t capacity)
{
	for (size_t i = 0; i < capacity; i++) {
		to[i] = from[i];
		if (!to[i])
			return (long)i;
	}
	return -ENAMETOOLONG;
}

size_t string_size(const char *string)
{
	return __builtin_strlen(string);
}

/* ---- the host ---- */

static void place_write(struct stat *place, long fd)
{
	*place = (struct stat){ .st_dev = 1, .st_ino = (unsigned long)fd, .st_mode = S_IFREG };
}

/* A packet of the runtime's: its bytes, at most `capacity`. Sometimes with a head that the shim believes. */
static long packet_read(uint8_t *to, size_t capacity)
{
	uint16_t wish = (uint16_t)next_number(2);
	size_t size = wish % 4 ? wish % 300 : wish;
	bool is_good = next() & 1;

	if (input.at == input.size)
		return 0;
	size = size < capacity ? size : capacity;
	for (size_t i = 0; i < size; i++)
		to[i] = next();
	if (is_good && size == sizeof(struct ctl_hello_file))
		((struct ctl_hello_file *)to)->size %= 1000;
	if (is_good && size >= sizeof(struct ctl_call_answer)) {
		((struct ctl_call_answer *)to)->verdict %= 4;
		((struct ctl_call_answer *)to)->string_count %= 4;
		((struct ctl_call_answer *)to)->file_size %= 1000;
	}
	return (long)size;
}

/* The first packet after HELLO, with a policy in it. */
static long policy_write(uint8_t *to)
{
	struct ctl_hello_answer head = { 0, 16 + 4 * 512, next() % 5, 0 };
	uint32_t image[4] = { 0x4c4f5053, 1, head.policy_size, 0 };

	__builtin_memcpy(to, &head, sizeof head);
	__builtin_memcpy(to + sizeof head, image, sizeof image);
	for (size_t i = 0; i < 4 * 512; i++)
		to[sizeof head + sizeof image + i] = (uint8_t)(i % 4 == 0 ? next() % 7 : i % 4 == 3 ? next() % 2 : next());
	to[sizeof head + head.policy_size] = 0;
	return (long)(sizeof head + head.policy_size + 1);
}

static bool wants_policy;

long gate6(long nr, long a, long b, long c, long d, long e, long f)
{
	(void)d, (void)e, (void)f;
	switch (nr) {
	case __NR_munmap:
		return unmap((void *)a);
	case __NR_socketpair:
		((int *)d)[0] = ANSWER_FD;
		((int *)d)[1] = ANSWER_FD + 1;
		return 0;
	case __NR_sendmsg:
		return 1;
	case __NR_read:
		if (a != ANSWER_FD)
			return 0;
		if (wants_policy) {
			wants_policy = false;
			return policy_write((uint8_t *)b);
		}
		return packet_read((uint8_t *)b, (size_t)c);
	case __NR_getcwd:
		__builtin_memcpy((char *)a, "/somewhere", 11);
		return 11;
	case __NR_readlink:
		__builtin_memcpy((char *)b, "/there", 6);
		return 6;
	case __NR_fstat:
		place_write((struct stat *)b, a);
		return 0;
	case __NR_memfd_create:
	case __NR_openat:
		return next_fd < NUMBERS ? next_fd++ : -EMFILE;
	case __NR_dup3:
		return b;
	case __NR_mmap:
		return (long)pages_map((size_t)b) ? : -ENOMEM;
	default:
		return 0;
	}
}

/* ---- the rest of the enclave ---- */

_Noreturn void die(const char *reason)
{
	(void)string_size(reason);
	longjmp(stopped, 1);
}

void say(const char *line)
{
	if (string_size(line) > CTL_PACKET_MAX)
		target_failed("said more than a packet", 0);
}

long deny(uint32_t nr, uint32_t error)
{
	(void)nr;
	return -(long)error;
}

/* A runtime is believed as to which descriptors and memory it hands over; the packets' bytes are volume_mount.c's. */
void volumes_take(int from, uint32_t count)
{
	(void)from, (void)count;
	longjmp(stopped, 1);
}

long volumes_directory(int directory, char *path, uint64_t size)
{
	(void)directory, (void)path, (void)size;
	return 0;
}

long volumes_serve_guest(struct frame *frame, const struct call_shape *shape)
{
	(void)frame, (void)shape;
	return -SHIELD_PLAIN;
}

void mutex_lock(struct mutex *mutex)
{
	mutex->state = 1;
}

void mutex_unlock(struct mutex *mutex)
{
	mutex->state = 0;
}

void text_add(struct text *text, const char *string)
{
	(void)string;
	text->bytes[0] = 0;
}

void text_add_number(struct text *text, long number)
{
	(void)text, (void)number;
}

struct descriptor *descriptor_of(int fd)
{
	return fd >= 0 && fd < NUMBERS ? &numbers[fd] : NULL;
}

void *descriptor_find(const struct fd_ops *ops, bool (*is)(const void *object, const void *what), const void *what)
{
	for (int i = 0; i < NUMBERS; i++)
		if (numbers[i].ops == ops && is(numbers[i].object, what))
			return numbers[i].object;
	return NULL;
}

long sys_fcntl(struct frame *frame)
{
	(void)frame;
	return 0;
}

/* ---- the program ---- */

static long sys_nothing(struct frame *frame)
{
	(void)frame;
	return 0;
}

#define OUT_BYTES { .kind = ARG_OUT, .size_arg = 2, .size = 1 }
const struct call_shape call_shapes[CALL_COUNT] = {
	[__NR_read]     = { .name = "read", .arg_count = 3, .fd_args = 1, .arg = { { .kind = ARG_FD }, OUT_BYTES } },
	[__NR_write]    = { .name = "write", .handler = sys_nothing, .arg_count = 3, .fd_args = 1,
			    .arg = { { .kind = ARG_FD }, { .kind = ARG_IN, .size_arg = 2, .size = 1 } } },
	[__NR_open]     = { .name = "open", .arg_count = 3, .path_args = 1, .arg = { { .kind = ARG_PATH } } },
	[__NR_stat]     = { .name = "stat", .arg_count = 2, .path_args = 1,
			    .arg = { { .kind = ARG_PATH }, { .kind = ARG_OUT_STRUCT, .size = 144 } } },
	[__NR_readv]    = { .name = "readv", .arg_count = 3, .fd_args = 1,
			    .arg = { { .kind = ARG_FD }, { .kind = ARG_IOVEC_OUT, .size_arg = 2 } } },
	[__NR_rename]   = { .name = "rename", .arg_count = 2, .path_args = 3,
			    .arg = { { .kind = ARG_PATH }, { .kind = ARG_PATH } } },
	[__NR_connect]  = { .name = "connect", .arg_count = 3, .fd_args = 1,
			    .arg = { { .kind = ARG_FD }, { .kind = ARG_IN_SOCKADDR, .size_arg = 2, .size = 128 } } },
	[__NR_sendmmsg] = { .name = "sendmmsg", .arg_count = 4, .fd_args = 1,
			    .arg = { { .kind = ARG_FD }, { .kind = ARG_MSGS_IN, .size_arg = 2, .size = 64 } } },
};

static const uint32_t made[] = { __NR_read, __NR_write, __NR_open, __NR_stat, __NR_readv, __NR_rename, __NR_connect,
				 __NR_sendmmsg };

static char *path_make(void)
{
	static const char letters[] = "/.a/";
	size_t size = next() % 40;
	char *path = pages_map(size + 1);

	for (size_t i = 0; path && i < size; i++)
		path[i] = letters[next() % 4];
	return path;
}

static void call_make(struct frame *frame)
{
	size_t size = next() % ROOM_MAX;
	uint64_t *messages;

	*frame = (struct frame){ .nr = made[next() % (sizeof made / sizeof *made)], .arg = { FIRST_FD, 0, size } };
	switch (frame->nr) {
	case __NR_read:
	case __NR_write:
		frame->arg[1] = (uint64_t)pages_map(size);
		break;
	case __NR_open:
		frame->arg[0] = (uint64_t)path_make();
		frame->arg[1] = next_number(4);
		break;
	case __NR_stat:
		frame->arg[0] = (uint64_t)path_make();
		frame->arg[1] = (uint64_t)pages_map(144);
		break;
	case __NR_rename:
		frame->arg[0] = (uint64_t)path_make();
		frame->arg[1] = (uint64_t)path_make();
		break;
	case __NR_readv:
		messages = pages_map(32);
		messages[0] = (uint64_t)pages_map(messages[1] = next());
		messages[2] = (uint64_t)pages_map(messages[3] = next());
		frame->arg[1] = (uint64_t)messages;
		frame->arg[2] = 2;
		break;
	case __NR_connect:
		frame->arg[2] = next() % 130;
		frame->arg[1] = (uint64_t)pages_map(frame->arg[2]);
		for (size_t i = 0; i < frame->arg[2]; i++)
			((uint8_t *)frame->arg[1])[i] = next();
		break;
	default:
		messages = pages_map(128);
		for (size_t i = 0; i < 2; i++) {
			messages[8 * i + 1] = next();
			messages[8 * i] = (uint64_t)pages_map(128);
		}
		frame->arg[1] = (uint64_t)messages;
		frame->arg[2] = 2;
	}
}

/* What was opened, read and mapped as far as it goes. */
static void file_use(long fd)
{
	struct frame frame = { .nr = __NR_read, .arg = { (uint64_t)fd, (uint64_t)pages_map(64), 64 } };
	struct descriptor *descriptor = descriptor_of((int)fd);

	if (!descriptor || !descriptor->ops)
		return;
	for (int i = 0; i < 20; i++)
		if (shield_serve(&frame, &call_shapes[__NR_read]) > 64)
			target_failed("read more than there is room for", i);
	shield_release(descriptor);
}

static void asked(void)
{
	static struct site sites[SITES_MAX];
	static char shim[CTL_PATH_MAX], pin[CTL_PIN_MAX];
	struct ctl_exec_answer given;
	struct frame frame;
	long result;

	switch (next() % 4) {
	case 0:
		control_hello(next() & 1, 7);
		break;
	case 1:
		result = control_exec(AT_FDCWD, 0, "/bin/true", shim, pin, &given);
		if (result > 0 || string_size(shim) >= sizeof shim || string_size(pin) >= sizeof pin)
			target_failed("an exec", result);
		break;
	case 2:
		result = control_sites("/lib/x", 0, 1, sites, SITES_MAX);
		if (result < 0 || result > SITES_MAX)
			target_failed("sites", result);
		break;
	default:
		wants_policy = true;
		control_hello(false, 7);
		for (int i = 0; i < 4; i++) {
			call_make(&frame);
			result = policy_serve(&frame, &call_shapes[frame.nr]);
			if (result < -511 && result != -SHIELD_PLAIN)
				target_failed("a result that is none", result);
			if (frame.nr == __NR_open)
				file_use(result);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	input.bytes = bytes;
	input.size = size;
	input.at = 0;
	next_fd = FIRST_FD;
	wants_policy = false;
	this_thread.self = &this_thread;
	target_gs_set(&this_thread);
	if (!setjmp(stopped))
		asked();
	target_gs_set(NULL);
	__builtin_memset(numbers, 0, sizeof numbers);
	enclave.has_shields = false;
	while (block_count)
		free(blocks[--block_count].bytes);
	return 0;
}
