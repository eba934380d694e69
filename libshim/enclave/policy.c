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

enum { ANSWER_COUNT = 64, ANSWER_PATH = 250, PATH_SIZE = CTL_PATH_MAX };

/* A path that the runtime allowed. */
struct answer {
	uint8_t  access;	/* of struct policy_call */
	bool     is_below;	/* all that lies below it, too */
	uint16_t size;		/* 0: no answer */
	char     path[ANSWER_PATH];
};

static struct policy_call calls[POLICY_CALLS];
static struct answer answers[ANSWER_COUNT];
static uint32_t      answers_next;
static struct mutex  answers_lock;

void policy_install(const void *image, size_t size)
{
	struct policy_image head;

	if (size < sizeof head)
		die("the runtime's policy can't be read");
	memcpy(&head, image, sizeof head);
	if (head.magic != POLICY_MAGIC || head.version != POLICY_VERSION || head.size != size)
		die("the runtime's policy is of another version than this shim: run tools/setup");
	memcpy(calls, head.calls, sizeof calls);
	enclave.has_policy = true;
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
static long path_get(char *path, const struct frame *frame, const struct call_shape *shape, uint32_t i)
{
	long size = 0;
	char first;

	TRY(copy_guarded(&first, (const char *)frame->arg[i], 1));
	if (first != '/') {
		size = start_of(path, frame, shape, i);
		if (size < 0 || size > PATH_SIZE - 2)
			return size < 0 ? size : -ENAMETOOLONG;
		path[size++] = '/';
	}
	TRY(copy_string(path + size, (const char *)frame->arg[i], (size_t)(PATH_SIZE - size)));
	path_tidy(path);
	return 0;
}

static bool covers(const struct answer *answer, uint8_t access, const char *path, size_t size)
{
	if (!answer->size || (answer->access & access) != access || answer->size > size ||
	    memcmp(answer->path, path, answer->size) != 0)
		return false;
	return answer->size == size || (answer->is_below && (path[answer->size] == '/' || answer->size == 1));
}

static bool is_answered(uint8_t access, const char *path)
{
	size_t size = string_size(path);
	bool found = false;

	mutex_lock(&answers_lock);
	for (uint32_t i = 0; i < ANSWER_COUNT && !found; i++)
		found = covers(&answers[i], access, path, size);
	mutex_unlock(&answers_lock);
	return found;
}

static void answer_keep(uint8_t access, const char *path, uint32_t scope)
{
	uint32_t size = scope & ~(uint32_t)CTL_SCOPE_BELOW;
	struct answer *answer;

	if (!size || size > ANSWER_PATH || size > string_size(path))
		return;
	mutex_lock(&answers_lock);
	answer = &answers[answers_next++ % ANSWER_COUNT];
	*answer = (struct answer){ .access = access, .is_below = scope & CTL_SCOPE_BELOW, .size = (uint16_t)size };
	memcpy(answer->path, path, size);
	mutex_unlock(&answers_lock);
}

/* One path is known by its answer; a call with two is asked about each time. */
static long path_serve(struct frame *frame, const struct call_shape *shape, uint8_t access)
{
	uint32_t i = (uint32_t)__builtin_ctz(shape->path_args), scope;
	bool is_single = shape->path_args == 1u << i;
	char path[PATH_SIZE];
	long result;

	if (!frame->arg[i] || path_get(path, frame, shape, i) < 0)
		return -SHIELD_PLAIN;		/* the kernel's own error */
	if (is_single && is_answered(access, path))
		return -SHIELD_PLAIN;
	result = ask_runtime(frame, shape, path, &scope);
	if (result == -SHIELD_PLAIN && is_single)
		answer_keep(access, path, scope);
	return result;
}

/* With a path where there is one: so a handler need not find out what a relative one means. */
static long asked(struct frame *frame, const struct call_shape *shape)
{
	uint32_t i = shape->path_args ? (uint32_t)__builtin_ctz(shape->path_args) : 0, scope;
	char path[PATH_SIZE];
	bool has_path = shape->path_args && frame->arg[i] && path_get(path, frame, shape, i) == 0;

	return ask_runtime(frame, shape, has_path ? path : NULL, &scope);
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
		return shape->path_args ? path_serve(frame, shape, call->access) : -SHIELD_PLAIN;
	case POLICY_STOP:
		break;
	}
	deny((uint32_t)frame->nr, EPERM);
	die("the policy stops a program that makes this call");
}
