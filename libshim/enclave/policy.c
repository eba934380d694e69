/*
 * policy.c - what the policy says of each call, inside the enclave.
 *
 * Owns: the policy's table of calls, and answers of the runtime about paths that need not be asked again: an exact path,
 * or a directory with all below it, for some kinds of access. Must never: guess; what is not known is asked. Called by:
 * dispatch.c, pass.c.
 */
#include <linux/fcntl.h>
#include "ask.h"
#include "control.h"
#include "dispatch.h"
#include "policy.h"
#include "shield.h"
#include "../wire/policy.h"

enum { GIVEN_COUNT = 448, ASKED_COUNT = 64, ANSWER_COUNT = GIVEN_COUNT + ASKED_COUNT, ANSWER_SIZE = 250, PATH_SIZE = CTL_PATH_MAX, ADDRESS_SIZE = 128, MESSAGES_MAX = 1024,
       MESSAGE_SIZE = 64 };	/* struct mmsghdr */

/* A path or an address that the runtime allowed. */
struct answer {
	uint8_t  access;	/* of struct policy_call */
	bool     is_below;	/* a directory: all that lies below it, too */
	uint16_t size;		/* 0: no answer */
	char     bytes[ANSWER_SIZE];
};

static struct policy_call calls[POLICY_CALLS];
static struct answer answers[ANSWER_COUNT];	/* those that came with the policy, then those of questions */
static uint32_t      given_count, asked_next;
static struct mutex  answers_lock;

static void answer_put(struct answer *answer, uint8_t access, bool is_below, const void *bytes, uint32_t size)
{
	*answer = (struct answer){ .access = access, .is_below = is_below, .size = (uint16_t)size };
	memcpy(answer->bytes, bytes, size);
}

/* The answers behind the table, in a policy of `size` bytes. */
static void given_install(const uint8_t *image, size_t size, uint32_t count)
{
	size_t at = sizeof(struct policy_image);

	for (uint32_t i = 0; i < count; i++) {
		struct policy_answer head;

		if (size - at < sizeof head)
			die("the runtime's policy can't be read");
		memcpy(&head, image + at, sizeof head);
		at += sizeof head;
		if (head.size > size - at)
			die("the runtime's policy can't be read");
		if (head.size <= ANSWER_SIZE && given_count < GIVEN_COUNT)
			answer_put(&answers[given_count++], head.access, head.is_below, image + at, head.size);
		at += head.size;
	}
}

void policy_install(const void *image, size_t size)
{
	struct policy_image head;

	if (size < sizeof head)
		die("the runtime's policy can't be read");
	memcpy(&head, image, sizeof head);
	if (head.magic != POLICY_MAGIC || head.version != POLICY_VERSION || head.size != size)
		die("the runtime's policy is of another version than this shim: run tools/setup");
	memcpy(calls, head.calls, sizeof calls);
	given_install(image, size, head.answer_count);
	enclave.has_policy = enclave.is_watched = true;
}

bool policy_is_inside(uint32_t nr)
{
	return calls[nr].route == POLICY_INSIDE;
}

void policy_after_fork(void)
{
	answers_lock = (struct mutex){ 0 };
}

/* ---- paths ---- */

/* Takes "//", "/." and "/.." out of an absolute path, as they are written: links are not looked at. */
static size_t path_tidy(char *path)
{
	size_t to = 0;

	for (size_t from = 0; path[from];) {
		size_t size = 0;

		while (path[from] == '/')
			from++;
		while (path[from + size] && path[from + size] != '/')
			size++;
		if (size == 2 && path[from] == '.' && path[from + 1] == '.')
			while (to && path[--to] != '/')
				;
		else if (size && !(size == 1 && path[from] == '.')) {
			path[to++] = '/';
			for (size_t i = 0; i < size; i++)
				path[to++] = path[from + i];
		}
		from += size;
	}
	if (!to)
		path[to++] = '/';
	path[to] = 0;
	return to;
}

/* The directory that a relative path starts from; its size or -errno. */
static long start_of(char *path, const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	bool has_directory = i && shape->fd_args & 1u << (i - 1) && (int)frame->arg[i - 1] != AT_FDCWD;
	char link[64];
	struct text text = { link, 0, sizeof link };
	long size;

	if (!has_directory) {
		size = gate2(__NR_getcwd, path, PATH_SIZE);
		return size > 0 ? size - 1 : size;
	}
	text_add(&text, "/proc/thread-self/fd/");
	text_add_number(&text, (int32_t)frame->arg[i - 1]);
	size = gate3(__NR_readlink, link, path, PATH_SIZE - 1);
	return size == -ENOENT ? -EBADF : size;
}

/* The absolute path that argument i names; 0, or -errno: then the kernel has an error of its own for the call. */
static long path_get(struct about *about, const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	char *path = about->bytes;
	long size = 0;
	char first;

	if (!frame->arg[i])
		return -EFAULT;
	TRY(copy_guarded(&first, (const char *)frame->arg[i], 1));
	if (!first)
		return -ENOENT;		/* the descriptor itself (AT_EMPTY_PATH), or the kernel's own error */
	if (first != '/') {
		size = start_of(path, frame, shape, i);
		if (size < 0 || size > PATH_SIZE - 2)
			return size < 0 ? size : -ENAMETOOLONG;
		path[size++] = '/';
	}
	TRY(copy_string(path + size, (const char *)frame->arg[i], (size_t)(PATH_SIZE - size)));
	about->size = path_tidy(path);
	about->kind = CTL_ABOUT_PATH;
	return 0;
}

/* ---- addresses ---- */

static long address_take(struct about *about, uint64_t address, uint64_t size)
{
	if (!address || !size)
		return 0;
	if (size > ADDRESS_SIZE)
		return -EINVAL;
	TRY(copy_guarded(about->bytes, (const void *)address, size));
	about->size = size;
	about->kind = CTL_ABOUT_ADDRESS;
	return 0;
}

/* The address in the first of `count` message headers that names one. */
static long messages_address(struct about *about, uint64_t messages, uint64_t count)
{
	for (uint64_t i = 0; i < count && i < MESSAGES_MAX && !about->kind; i++) {
		uint64_t header[2];

		TRY(copy_guarded(header, (const void *)(messages + i * MESSAGE_SIZE), sizeof header));
		TRY(address_take(about, header[0], (uint32_t)header[1]));
	}
	return 0;
}

static long address_get(struct about *about, const struct frame *frame, const struct call_shape *shape)
{
	for (uint32_t i = 0; i < shape->arg_count; i++) {
		const struct arg_shape *at = &shape->arg[i];

		if (at->kind == ARG_IN_SOCKADDR)
			return address_take(about, frame->arg[i], frame->arg[at->size_arg]);
		if (at->kind == ARG_MSG_IN || at->kind == ARG_MSGS_IN)
			return messages_address(about, frame->arg[i], at->kind == ARG_MSG_IN ? 1 : frame->arg[at->size_arg]);
	}
	return 0;
}

/* ---- answers ---- */

static bool covers(const struct answer *answer, uint8_t access, const struct about *about)
{
	if (!answer->size || (answer->access & access) != access || answer->size > about->size ||
	    memcmp(answer->bytes, about->bytes, answer->size) != 0)
		return false;
	return answer->size == about->size ||
	       (answer->is_below && (about->bytes[answer->size] == '/' || answer->size == 1));
}

static bool is_answered(uint8_t access, const struct about *about)
{
	bool found = false;

	mutex_lock(&answers_lock);
	for (uint32_t i = 0; i < given_count + ASKED_COUNT && !found; i++)
		found = covers(&answers[i], access, about);
	mutex_unlock(&answers_lock);
	return found;
}

static void answer_keep(uint8_t access, const struct about *about, uint32_t scope)
{
	uint32_t size = scope & ~CTL_SCOPE_BELOW;

	if (!size || size > ANSWER_SIZE || size > about->size)
		return;
	mutex_lock(&answers_lock);
	answer_put(&answers[given_count + asked_next++ % ASKED_COUNT], access, scope & CTL_SCOPE_BELOW, about->bytes, size);
	mutex_unlock(&answers_lock);
}

/* ---- calls ---- */

static uint8_t access_of(const struct frame *frame, const struct policy_call *call)
{
	uint32_t flags;

	if (call->access != POLICY_OPENS)
		return call->access;
	flags = open_flags(frame);
	if (flags & O_PATH)
		return POLICY_LOOKS;
	return frame->nr == __NR_creat || flags & (O_ACCMODE | O_CREAT | O_TRUNC) ? POLICY_WRITES : POLICY_READS;
}

static bool is_single(const struct call_shape *shape)
{
	return !(shape->path_args & (shape->path_args - 1));
}

/* Asks unless an answer of before covers it. A call with two paths is asked about each time. */
static long serve_about(struct frame *frame, const struct call_shape *shape, uint8_t access, const struct about *about)
{
	uint32_t scope;
	long result;

	if (is_single(shape) && is_answered(access, about))
		return -SHIELD_PLAIN;
	result = ask_runtime(frame, shape, about, &scope);
	if (result == -SHIELD_PLAIN && is_single(shape))
		answer_keep(access, about, scope);
	return result;
}

static long path_serve(struct frame *frame, const struct call_shape *shape, uint8_t access)
{
	struct about about;

	about.kind = 0;
	if (!shape->path_args || path_get(&about, frame, shape, (uint32_t)__builtin_ctz(shape->path_args)) < 0)
		return -SHIELD_PLAIN;		/* the kernel's own error */
	return serve_about(frame, shape, access, &about);
}

static long address_serve(struct frame *frame, const struct call_shape *shape, uint8_t access)
{
	struct about about;

	about.kind = 0;
	if (address_get(&about, frame, shape) < 0 || !about.kind)
		return -SHIELD_PLAIN;		/* the kernel's own error, or the peer that it has been connected to */
	return serve_about(frame, shape, access, &about);
}

/* With its path or address, where it has one: so a handler need not find out what a relative path means. */
static long asked(struct frame *frame, const struct call_shape *shape)
{
	struct about about;
	uint32_t scope;

	about.kind = 0;
	if (shape->path_args)
		(void)!path_get(&about, frame, shape, (uint32_t)__builtin_ctz(shape->path_args));
	else
		(void)!address_get(&about, frame, shape);
	return ask_runtime(frame, shape, &about, &scope);
}

long policy_serve(struct frame *frame, const struct call_shape *shape)
{
	const struct policy_call *call = &calls[(uint32_t)frame->nr];

	switch ((enum policy_route)call->route) {
	case POLICY_INSIDE:
	case POLICY_HOST:
		return -SHIELD_PLAIN;
	case POLICY_DENY:
		return deny((uint32_t)frame->nr, call->error);
	case POLICY_RUNTIME:
		return asked(frame, shape);
	case POLICY_PATHS:
		return path_serve(frame, shape, access_of(frame, call));
	case POLICY_ADDRESS:
		return address_serve(frame, shape, call->access);
	case POLICY_STOP:
		break;
	}
	deny((uint32_t)frame->nr, EPERM);
	die("the policy stops a program that makes this call");
}
