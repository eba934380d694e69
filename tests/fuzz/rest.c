/*
 * rest.c - what the fuzzed files call and the host has no part in: nothing is held, posted or reported.
 *
 * Owns: those stand-ins. Must never: stand in for a check. Used by: the target replies.c.
 */
#include "calls.gen.h"
#include "control.h"
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

void control_event(uint32_t kind, uint32_t nr, const char *text)
{
	(void)kind, (void)nr, (void)text;
}

void text_add(struct text *text, const char *string)
{
	(void)text, (void)string;
}

void text_add_number(struct text *text, long number)
{
	(void)text, (void)number;
}

void descriptor_forget(int fd)
{
	(void)fd;
}

void descriptor_forget_range(uint32_t first, uint32_t last)
{
	(void)first, (void)last;
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

void ring_stop(struct thread *thread)
{
	(void)thread;
}

void ring_resume(void)
{
}

void alive_watch(void)
{
}

bool policy_is_inside(uint32_t nr)
{
	(void)nr;
	return false;
}

void shield_share(const struct descriptor *from, struct descriptor *to)
{
	(void)from;
	(void)to;
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

bool stream_held_is_full(int fd)
{
	(void)fd;
	return false;
}

void ring_ahead_release(struct lane *lane, uint32_t buffer)
{
	(void)lane, (void)buffer;
}

void stream_hold(int fd, const struct ring_ahead *ahead, struct lane *lane)
{
	(void)fd, (void)ahead, (void)lane;
}

void stream_mark(int fd)
{
	(void)fd;
}

bool stream_post(int fd, const struct io_part *parts, uint64_t count, uint32_t flags, long *result)
{
	(void)fd, (void)parts, (void)count, (void)flags, (void)result;
	return false;
}

bool stream_take(int fd, const struct io_part *parts, uint64_t count, bool is_peek, long *result)
{
	(void)fd, (void)parts, (void)count, (void)is_peek, (void)result;
	return false;
}
