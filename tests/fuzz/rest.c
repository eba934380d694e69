/*
 * rest.c - what the fuzzed files call and the host has no part in: nothing is held, posted or reported.
 *
 * Owns: those stand-ins. Must never: stand in for a check. Used by: the target replies.c.
 */
#include "calls.gen.h"
#include "control.h"
#include "policy.h"
#include "shield.h"
#include "descriptor.h"
#include "ring.h"
#include "stream.h"

#define NOT_FUZZED(name) long name(struct frame *frame) { (void)frame; return -ENOSYS; }

NOT_FUZZED(sys_clone)
NOT_FUZZED(sys_clone3)
NOT_FUZZED(sys_execve)
NOT_FUZZED(sys_execveat)
NOT_FUZZED(sys_exit)
NOT_FUZZED(sys_exit_group)
NOT_FUZZED(sys_fork)
NOT_FUZZED(sys_mmap)
NOT_FUZZED(sys_mprotect)
NOT_FUZZED(sys_rt_sigaction)
NOT_FUZZED(sys_rt_sigprocmask)
NOT_FUZZED(sys_rt_sigreturn)
NOT_FUZZED(sys_rt_sigsuspend)
NOT_FUZZED(sys_sigaltstack)
NOT_FUZZED(sys_vfork)

void ring_thread_exit(struct thread *thread)
{
	(void)thread;
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

bool descriptor_is_new(int fd)
{
	(void)fd;
	return false;
}

void descriptor_forget(int fd)
{
	(void)fd;
}

void descriptor_forget_range(uint32_t first, uint32_t last)
{
	(void)first, (void)last;
}

bool policy_is_inside(uint32_t nr)
{
	(void)nr;
	return false;
}

void shield_share(const struct descriptor *from, struct descriptor *to)
{
	(void)from, (void)to;
}

int ring_helper_pid(void)
{
	return 0;
}

long ring_leave(struct thread *thread, int fd)
{
	(void)thread, (void)fd;
	return 0;
}

long ring_leave_range(struct thread *thread, uint32_t first, uint32_t last)
{
	(void)thread, (void)first, (void)last;
	return 0;
}

long ring_settle(struct thread *thread, int fd, enum ring_class class)
{
	(void)thread, (void)fd, (void)class;
	return 0;
}

long ring_stop(struct thread *thread)
{
	(void)thread;
	return 0;
}

void ring_resume(void)
{
}

struct thread *thread_all(void)
{
	return thread_self();
}

bool ring_rest(void)
{
	return true;
}

void alive_watch(void)
{
}

void stream_flush(struct thread *thread)
{
	(void)thread;
}

int stream_held_first(void)
{
	return -1;
}

int stream_held_next(int fd)
{
	(void)fd;
	return -1;
}

uint32_t stream_held_size(int fd)
{
	(void)fd;
	return 0;
}

bool stream_is_held(int fd)
{
	(void)fd;
	return false;
}

void stream_forced(struct thread *thread)
{
	(void)thread;
}

bool stream_held_is_part(int fd)
{
	(void)fd;
	return false;
}

void stream_tell(int fd)
{
	(void)fd;
}

void ring_ahead_release(struct lane *lane, uint32_t buffer)
{
	(void)lane, (void)buffer;
}

void stream_hold(int fd, const struct ring_ahead *ahead, struct lane *lane)
{
	(void)fd, (void)ahead, (void)lane;
}

bool descriptor_is_nonblocking(int fd)
{
	(void)fd;
	return true;
}

void stream_watch(int fd)
{
	(void)fd;
}

void stream_refuse(int fd)
{
	(void)fd;
}

long stream_share(int fd)
{
	(void)fd;
	return 0;
}

void stream_duplicated(int from, int to)
{
	(void)from, (void)to;
}

enum stream_source stream_read_begin(int fd)
{
	(void)fd;
	return STREAM_HOST;
}

void stream_read_end(int fd, enum stream_source source, long result)
{
	(void)fd, (void)source, (void)result;
}

long stream_settle(int fd, uint32_t flags)
{
	(void)fd, (void)flags;
	return 0;
}

long stream_shut(int fd, bool *follows)
{
	(void)fd;
	*follows = false;
	return 0;
}

long stream_unsent(int fd, bool *is_left)
{
	(void)fd;
	*is_left = false;
	return 0;
}

void stream_dissolved(int fd)
{
	(void)fd;
}

long ring_dissolve(struct thread *thread, int fd)
{
	(void)thread, (void)fd;
	return 0;
}

uint32_t ring_post_bytes(int fd)
{
	(void)fd;
	return 0;
}

bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, bool is_plain, long *result)
{
	(void)fd, (void)parts, (void)count, (void)flags, (void)is_plain, (void)result;
	return false;
}

bool stream_take(int fd, const struct io_part *parts, uint64_t count, uint32_t how, long *result)
{
	(void)fd, (void)parts, (void)count, (void)how, (void)result;
	return false;
}
