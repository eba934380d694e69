/*
 * policy.c - what the policy says of each call, inside the enclave.
 *
 * Owns: the policy's table of calls, what it says of paths, and answers of the runtime that need not be asked again:
 * about an exact path or address, or about all that lies directly in a directory. Must never: guess; what is not known
 * is asked. Called by: dispatch.c, pass.c.
 */
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include "about.h"
#include "ask.h"
#include "control.h"
#include "dispatch.h"
#include "policy.h"
#include "shield.h"
#include "../wire/policy.h"

enum { GIVEN_COUNT = 384, ANSWER_COUNT = 128, ANSWER_SIZE = 248, ANSWER_DATAGRAM = 128, SOL_SOCKET_ = 1,
       SO_TYPE_ = 3, SOCK_STREAM_ = 1, SOCK_SEQPACKET_ = 5, ERRNO_MAX = 511 };

/* A path that came with the policy: its names can't be changed by anybody whom the policy governs. */
struct given {
	uint8_t  access;
	bool     is_below;	/* a directory: for all that lies below it, too */
	uint16_t size;
	char     bytes[ANSWER_SIZE];
};

/* A path or an address that the runtime was asked about, and allowed. */
struct answer {
	uint32_t hash;
	uint8_t  access;	/* of struct policy_call, or with ANSWER_DATAGRAM */
	bool     is_directory;	/* for all that lies directly in it */
	uint16_t size;		/* 0: no answer */
	char     bytes[ANSWER_SIZE];
};

static struct policy_call calls[POLICY_CALLS];
static struct given  given[GIVEN_COUNT];
static struct answer answers[ANSWER_COUNT];
static uint32_t      given_count, answers_next;
static struct mutex  answers_lock;

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
		if (head.size && head.size <= ANSWER_SIZE && given_count < GIVEN_COUNT) {
			struct given *one = &given[given_count++];

			*one = (struct given){ .access = head.access, .is_below = head.is_below, .size = head.size };
			memcpy(one->bytes, image + at, head.size);
		}
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
	for (uint32_t i = 0; i < POLICY_CALLS; i++)
		if (head.calls[i].route > POLICY_ADDRESS || head.calls[i].error > ERRNO_MAX)
			die("the runtime's policy can't be read");
	memcpy(calls, head.calls, sizeof calls);
	given_install(image, size, head.answer_count);
	enclave.has_policy = enclave.is_watched = true;
}

bool policy_is_inside(uint32_t nr)
{
	return calls[nr].route == POLICY_INSIDE;
}

bool policy_is_general(uint32_t nr)
{
	uint8_t route = calls[nr].route;

	return route == POLICY_DENY || route == POLICY_STOP || route == POLICY_RUNTIME;
}

/* ---- answers ---- */

static bool covers(const struct given *one, const struct about *about)
{
	if (one->size > about->size || memcmp(one->bytes, about->bytes, one->size) != 0)
		return false;
	return one->size == about->size || (one->is_below && (about->bytes[one->size] == '/' || one->size == 1));
}

/* Is the path what it says: does no link stand in it, as far as it exists? */
static bool is_plain(const char *path)
{
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	long fd = gate4(__NR_openat2, AT_FDCWD, path, &how, sizeof how);

	if (fd >= 0)
		gate1(__NR_close, fd);
	return fd >= 0 || fd == -ENOENT;
}

static bool is_given(uint8_t access, const struct about *about)
{
	for (uint32_t i = 0; i < given_count; i++)
		if ((given[i].access & access) == access && covers(&given[i], about))
			return is_plain(about->bytes);
	return false;
}

static uint32_t hash_of(const char *bytes, size_t size)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (uint8_t)bytes[i]) * 16777619u;
	return hash;
}

/* Under answers_lock. */
static bool answer_find(uint8_t access, bool is_directory, const char *bytes, size_t size)
{
	uint32_t hash = hash_of(bytes, size);

	for (uint32_t i = 0; i < ANSWER_COUNT; i++)
		if (answers[i].hash == hash && answers[i].size == size && answers[i].access == access &&
		    answers[i].is_directory == is_directory && memcmp(answers[i].bytes, bytes, size) == 0)
			return true;
	return false;
}

/* The directory that a path lies in: its size. */
static size_t directory_size(const struct about *about)
{
	size_t size = about->size;

	while (size > 1 && about->bytes[size - 1] != '/')
		size--;
	return size > 1 ? size - 1 : 1;
}

static bool is_answered(uint8_t access, const struct about *about)
{
	bool found;

	if (!about->is_kept)
		return false;
	if (about->kind == CTL_ABOUT_PATH && is_given(access, about))
		return true;
	mutex_lock(&answers_lock);
	found = answer_find(access, false, about->bytes, about->size) ||
		(about->kind == CTL_ABOUT_PATH && answer_find(access, true, about->bytes, directory_size(about)));
	mutex_unlock(&answers_lock);
	return found;
}

static void answer_keep(uint8_t access, const struct about *about, enum ctl_scope scope)
{
	bool is_directory = scope == CTL_SCOPE_DIRECTORY && about->kind == CTL_ABOUT_PATH;
	size_t size = is_directory ? directory_size(about) : about->size;
	struct answer *answer;

	if (scope == CTL_SCOPE_NONE || !about->is_kept || size > ANSWER_SIZE)
		return;
	mutex_lock(&answers_lock);
	answer = &answers[answers_next++ % ANSWER_COUNT];
	*answer = (struct answer){ .hash = hash_of(about->bytes, size), .access = access, .is_directory = is_directory,
				   .size = (uint16_t)size };
	memcpy(answer->bytes, about->bytes, size);
	mutex_unlock(&answers_lock);
}

/* Names are about to change their meaning: a link may lead out of an allowed directory. */
static void answers_forget(void)
{
	mutex_lock(&answers_lock);
	memset(answers, 0, sizeof answers);
	mutex_unlock(&answers_lock);
}

void policy_after_fork(void)
{
	if (answers_lock.state)		/* another thread of the parent was about to change one */
		memset(answers, 0, sizeof answers);
	answers_lock = (struct mutex){ 0 };
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

static bool makes_names(uint64_t nr)
{
	return nr == __NR_symlink || nr == __NR_symlinkat || nr == __NR_link || nr == __NR_linkat || nr == __NR_rename ||
	       nr == __NR_renameat || nr == __NR_renameat2;
}

/* Asks unless an answer of before covers it. A call with two paths is asked about each time. */
static long serve_about(struct frame *frame, const struct call_shape *shape, uint8_t access, const struct about *about,
			uint32_t count)
{
	enum ctl_scope scope;
	long result;

	if (count == 1 && is_answered(access, about))
		return -SHIELD_PLAIN;
	result = ask_runtime(frame, shape, about, count, &scope);
	if (result == -SHIELD_PLAIN && count == 1)
		answer_keep(access, about, scope);
	return result;
}

static long path_serve(struct frame *frame, const struct call_shape *shape, uint8_t access)
{
	struct about about[ABOUT_MAX];
	long count = about_paths(about, frame, shape);

	if (makes_names(frame->nr))
		answers_forget();
	if (count <= 0)
		return count < 0 ? count : -SHIELD_PLAIN;
	return serve_about(frame, shape, access, about, (uint32_t)count);
}

static bool is_datagram_socket(const struct frame *frame)
{
	int32_t type = 0;
	uint32_t size = sizeof type;

	if (gate5(__NR_getsockopt, (int)frame->arg[0], SOL_SOCKET_, SO_TYPE_, &type, &size) < 0)
		return false;
	return type != SOCK_STREAM_ && type != SOCK_SEQPACKET_;
}

/* Each address of a call with many messages must be allowed. */
static long address_serve(struct frame *frame, const struct call_shape *shape, uint8_t access)
{
	bool is_datagram = is_datagram_socket(frame);
	struct about about;
	uint64_t next = 0;
	long found, result = -SHIELD_PLAIN;

	while (result == -SHIELD_PLAIN && (found = about_address(&about, frame, shape, &next)) != 0) {
		TRY(found);
		about.is_datagram = is_datagram;
		result = serve_about(frame, shape, access | (is_datagram ? ANSWER_DATAGRAM : 0), &about, 1);
	}
	return result;
}

/* With its paths or address, where it has one. A call with many addresses is asked about once for each. */
static long asked(struct frame *frame, const struct call_shape *shape)
{
	struct about about[ABOUT_MAX];
	uint64_t next = 0;
	long count = about_paths(about, frame, shape), result;
	enum ctl_scope scope;

	TRY(count);
	if (!count) {
		count = about_address(about, frame, shape, &next);
		TRY(count);
		about->is_datagram = count && is_datagram_socket(frame);
	}
	result = ask_runtime(frame, shape, about, (uint32_t)count, &scope);
	while (result == -SHIELD_PLAIN && next && (count = about_address(about, frame, shape, &next)) != 0) {
		TRY(count);
		about->is_datagram = is_datagram_socket(frame);
		result = ask_runtime(frame, shape, about, (uint32_t)count, &scope);
	}
	return result;
}

/* No call has the last number of the table: what that gets, gets every number past it. */
long policy_serve_unknown(uint32_t nr)
{
	const struct policy_call *call = &calls[POLICY_CALLS - 1];
	long result = deny(nr, call->error ? call->error : ENOSYS);

	if (call->route == POLICY_STOP)
		die("the policy stops a program that makes this call");
	return result;
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
