/*
 * fd.c - calls that could reach the shim's own descriptors, or show them.
 *
 * Owns: keeping the control socket and alive.c's pipe out of the program's sight and reach. Must never: give out another
 * number than the kernel would for any other descriptor. Called by: dispatch.c.
 */
#include <asm/ioctls.h>
#include <linux/fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include "dispatch.h"
#include "control.h"
#include "descriptor.h"
#include "epoll.h"
#include "multiplex.h"
#include "ring.h"
#include "shield.h"
#include "stream.h"

enum { DT_LNK = 10, NAME_AT = 19, RECLEN_AT = 16, TYPE_AT = 18, F_DUPFD_CLOEXEC_NR = 1030 };

/* The shim's own descriptor that has this number, or NULL. */
static int32_t *own_find(uint64_t fd)
{
	if (enclave.control_fd >= 0 && (uint32_t)fd == (uint32_t)enclave.control_fd)
		return &enclave.control_fd;
	for (uint32_t i = 1; i < OWN_COUNT && enclave.own_fd[i] > 0; i++)
		if ((uint32_t)fd == (uint32_t)enclave.own_fd[i])
			return &enclave.own_fd[i];
	return NULL;
}

static bool is_own(uint64_t fd)
{
	return own_find(fd) != NULL;
}

long sys_close(struct frame *frame);
long sys_close(struct frame *frame)
{
	int fd = (int)frame->arg[0];

	if (is_own(frame->arg[0]))
		return -EBADF;
	if (thread_self()->gate_only)
		return pass_by_gate(frame);
	if (likely(descriptor_is_new(fd)))
		return sys_pass(frame);
	TRY(ring_leave(thread_self(), fd));
	descriptor_forget(fd);
	return sys_pass(frame);
}

/* The program wants the very number that one of the shim's has. */
static long make_way(uint64_t wanted)
{
	int32_t *own = own_find(wanted);
	long moved;

	if (!own)
		return 0;
	if (thread_self()->gate_only)
		return -EBUSY;		/* others have it where it is */
	moved = gate3(__NR_fcntl, *own, F_DUPFD_CLOEXEC_NR, 3);
	if (moved < 0)
		die("no descriptor is left for the control socket");
	gate3(__NR_fcntl, moved, F_SETFD, own < &enclave.own_fd[OWN_CONTAINERS] ? 0 : FD_CLOEXEC);
	*own = (int32_t)moved;
	return 0;
}

static long number_get(struct frame *frame)
{
	return frame->nr == __NR_fcntl ? multiplex(frame, &fcntl_table, (uint32_t)frame->arg[1], 2) : sys_pass(frame);
}

/* dup, dup2, dup3 and F_DUPFD: `target` is replaced (-1: a free number is taken). */
static long duplicate(struct frame *frame, int target)
{
	struct thread *thread = thread_self();
	struct descriptor *from, *to;
	long result;

	if (thread->gate_only || (int)frame->arg[0] == target)
		return number_get(frame);
	stream_flush(thread);
	TRY(stream_share((int)frame->arg[0]));
	to = target >= 0 ? descriptor_of(target) : NULL;
	if (to && to->ops) {		/* what fails must not take its shield */
		if (frame->nr == __NR_dup3 && frame->arg[2] & ~(uint64_t)O_CLOEXEC)
			return -EINVAL;
		TRY(gate2(__NR_fcntl, (int)frame->arg[0], F_GETFD));
	}
	if (target >= 0) {
		TRY(ring_leave(thread, target));
		descriptor_forget(target);
	}
	result = number_get(frame);
	if (result < 0)
		return result;
	from = descriptor_of((int)frame->arg[0]);
	to = descriptor_of((int)result);
	if (from && to) {
		epoll_share(from, to);
		shield_share(from, to);
		stream_duplicated((int)frame->arg[0], (int)result);
	}
	return result;
}

long sys_dup2(struct frame *frame);
long sys_dup2(struct frame *frame)
{
	if (is_own(frame->arg[0]))
		return -EBADF;
	TRY(make_way(frame->arg[1]));
	return duplicate(frame, (int)frame->arg[1]);
}

long sys_dup(struct frame *frame);
long sys_dup(struct frame *frame)
{
	return is_own(frame->arg[0]) ? -EBADF : duplicate(frame, -1);
}

long sys_dup3(struct frame *frame);
long sys_dup3(struct frame *frame)
{
	return sys_dup2(frame);
}

/* The calling thread has a descriptor table of its own, unless there is no other thread: it takes the gate from now on. */
static void table_split(void)
{
	struct thread *thread = thread_self();

	if (gate1(__NR_unshare, CLONE_THREAD) == 0)	/* only a thread that is alone may */
		return;
	ring_thread_exit(thread);
	thread->gate_only = true;
}

/* The helper has the table, too: one that was made before would keep open what is closed in the new one. */
static long table_unshare(void)
{
	struct frame frame = { .nr = __NR_unshare, .arg = { CLONE_FILES } };

	TRY(pass_renewing(&frame));
	table_split();
	return 0;
}

long sys_unshare(struct frame *frame);
long sys_unshare(struct frame *frame)
{
	long result = sys_pass(frame);

	if (result == 0 && frame->arg[0] & CLONE_FILES && !thread_self()->is_guest)
		table_split();
	return result;
}

/* The lowest number from first to last that is the shim's own; last + 1: none is. */
static uint64_t own_between(uint64_t first, uint64_t last)
{
	uint64_t found = last + 1;
	const int32_t *own = enclave.own_fd;

	for (size_t i = 0; i < OWN_COUNT; i++)
		if (own[i] > 0 && (uint64_t)own[i] >= first && (uint64_t)own[i] < found)
			found = (uint64_t)own[i];
	return found;
}

long sys_close_range(struct frame *frame);
long sys_close_range(struct frame *frame)
{
	uint32_t first = (uint32_t)frame->arg[0], last = (uint32_t)frame->arg[1];
	uint32_t flags = (uint32_t)frame->arg[2];

	if (first > last || flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
		return pass_by_gate(frame);		/* the kernel's error */
	if (flags & CLOSE_RANGE_UNSHARE && !thread_self()->is_guest) {
		TRY(table_unshare());
		flags &= ~(uint32_t)CLOSE_RANGE_UNSHARE;
	}
	if (!thread_self()->gate_only) {
		stream_flush(thread_self());
		if (!(flags & CLOSE_RANGE_CLOEXEC)) {
			TRY(ring_leave_range(thread_self(), first, last));
			descriptor_forget_range(first, last);
		}
	}
	if (own_between(first, last) > last) {
		struct frame here = *frame;

		here.arg[2] = flags;
		return pass_by_gate(&here);
	}
	for (uint64_t at = first, own; at <= last; at = own + 1) {
		own = own_between(at, last);
		if (own > at)
			TRY(gate3(__NR_close_range, at, own - 1, flags));
	}
	return 0;
}

long sys_fcntl(struct frame *frame);
long sys_fcntl(struct frame *frame)
{
	struct descriptor *descriptor;
	uint64_t command = frame->arg[1];

	if (is_own(frame->arg[0]))
		return -EBADF;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC_NR)
		return duplicate(frame, -1);
	descriptor = command == F_SETFL ? descriptor_of((int)frame->arg[0]) : NULL;
	if (descriptor)
		descriptor->is_nonblocking_known = false;
	return multiplex(frame, &fcntl_table, (uint32_t)command, 2);
}

static long number_add(uint64_t at, uint32_t more)
{
	int32_t number;

	TRY(copy_guarded(&number, (void *)at, sizeof number));
	number += (int32_t)more;
	return copy_guarded((void *)at, &number, sizeof number);
}

/* Bytes that were read ahead are still to be read, those that wait to be sent are in the queue. */
static long stream_ioctl(struct frame *frame, uint64_t command)
{
	int fd = (int)frame->arg[0];
	uint32_t unsent, held = stream_held_size(fd);
	long result;

	stream_flush(thread_self());
	unsent = ring_post_bytes(fd);
	if (command == SIOCATMARK)
		stream_refuse(fd);
	result = multiplex(frame, &ioctl_table, (uint32_t)command, 2);
	if (result < 0)
		return result;
	if (command == FIONREAD && held) {
		stream_tell(fd);
		TRY(number_add(frame->arg[2], held));
	}
	if (command == SIOCATMARK && held)
		TRY(copy_guarded((void *)frame->arg[2], &(uint32_t){ 0 }, sizeof(uint32_t)));
	if ((command == TIOCOUTQ || command == SIOCOUTQNSD) && unsent)
		TRY(number_add(frame->arg[2], unsent));
	return result;
}

long sys_ioctl(struct frame *frame);
long sys_ioctl(struct frame *frame)
{
	struct descriptor *descriptor;
	uint64_t command = (uint32_t)frame->arg[1];
	long result;

	if (is_own(frame->arg[0]))
		return -EBADF;
	if (!thread_self()->gate_only && (command == FIONREAD || command == TIOCOUTQ || command == SIOCOUTQNSD ||
					  command == SIOCATMARK))
		return stream_ioctl(frame, command);
	result = multiplex(frame, &ioctl_table, (uint32_t)command, 2);
	if (result < 0 || thread_self()->gate_only)
		return result;
	descriptor = command == FIONBIO ? descriptor_of((int)frame->arg[0]) : NULL;
	if (descriptor)
		descriptor->is_nonblocking_known = false;
	return result;
}

/* Is `fd` a /proc/PID/fd directory? */
static bool is_fd_directory(uint64_t fd)
{
	char path[64], target[256];
	struct text text = { path, 0, sizeof path };
	long size;

	text_add(&text, "/proc/self/fd/");
	text_add_number(&text, (int32_t)fd);
	size = gate3(__NR_readlink, path, target, sizeof target);
	if (size < 8 || size >= (long)sizeof target || !string_starts(target, "/proc/"))
		return false;
	target[size] = 0;
	return string_equal(target + size - 3, "/fd") || string_equal(target + size - 7, "/fdinfo");
}

/* Takes the entry of one of the shim's descriptors out of a listing; the new size. */
static long entry_hide(uint8_t *entries, long size, int32_t fd)
{
	char own[16];
	struct text text = { own, 0, sizeof own };
	size_t own_size;

	text_add_number(&text, fd);
	own_size = text.size + 1;
	for (long at = 0; at + NAME_AT < size;) {
		uint16_t entry_size;

		memcpy(&entry_size, entries + at + RECLEN_AT, sizeof entry_size);
		if (entry_size < NAME_AT + 1 || at + entry_size > size)
			return -EIO;
		if (own_size + NAME_AT <= entry_size && memcmp(entries + at + NAME_AT, own, own_size) == 0) {
			for (long i = at; i + entry_size < size; i++)
				entries[i] = entries[i + entry_size];
			return size - entry_size;
		}
		at += entry_size;
	}
	return size;
}

long sys_getdents64(struct frame *frame);
long sys_getdents64(struct frame *frame)
{
	long size;

	if (enclave.control_fd < 0 || !is_fd_directory(frame->arg[0]))
		return sys_pass(frame);
	do {
		size = pass_by_gate(frame);
		for (uint32_t i = 0; i < OWN_COUNT && size > 0; i++)
			if (!i || enclave.own_fd[i] > 0)
				size = entry_hide((uint8_t *)frame->arg[1], size, enclave.own_fd[i]) ? : -EAGAIN;
	} while (size == -EAGAIN);
	return size;
}

long sys_getdents(struct frame *frame);
long sys_getdents(struct frame *frame)
{
	return pass_by_gate(frame);
}
