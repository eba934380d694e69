/*
 * support.c - see support.h.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#undef PAGE_SIZE
#include "support.h"
#include "control.h"
#include "epoll.h"
#include "ring_inner.h"
#include "stream.h"

struct enclave enclave;

_Noreturn void check_failed(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: failed: %s\n", file, line, condition);
	_exit(1);
}

bool control_event(uint32_t kind, uint32_t nr, const char *text)
{
	(void)kind;
	(void)nr;
	fprintf(stderr, "event: %s\n", text);
	return true;
}

void text_add(struct text *text, const char *string)
{
	while (*string && text->size + 1 < text->capacity)
		text->bytes[text->size++] = *string++;
	text->bytes[text->size] = 0;
}

void text_add_number(struct text *text, long number)
{
	char digits[24];

	snprintf(digits, sizeof digits, "%ld", number);
	text_add(text, digits);
}

_Noreturn void die(const char *reason)
{
	fprintf(stderr, "stopped: %s\n", reason);
	_exit(120);
}

/* What the gate's other ways lead to: no test takes them. */
_Noreturn void thread_begin(struct thread *thread);
_Noreturn void thread_begin(struct thread *thread)
{
	(void)thread;
	die("a thread of the program in a test");
}

_Noreturn void door_leave_frame(void);
_Noreturn void door_leave_frame(void)
{
	die("a way out in a test");
}

void alive_watch(void)
{
}

struct thread *thread_all(void)
{
	return thread_self();
}

int stream_held_first(void)
{
	return -1;
}

void epoll_leave(int fd)
{
	(void)fd;
}

void control_helper(int32_t pid)
{
	(void)pid;
}

void mutex_lock(struct mutex *mutex)
{
	while (__atomic_exchange_n(&mutex->state, 1, __ATOMIC_ACQUIRE))
		usleep(10);
}

void mutex_unlock(struct mutex *mutex)
{
	__atomic_store_n(&mutex->state, 0, __ATOMIC_RELEASE);
}

void *pages_map(size_t size)
{
	long address = gate6(__NR_mmap, 0, (long)size, 3, 0x22, -1, 0);

	return address < 0 ? NULL : (void *)address;
}

struct thread *test_thread(void)
{
	struct thread *thread = aligned_alloc(_Alignof(struct thread), sizeof *thread);

	memset(thread, 0, sizeof *thread);
	thread->self = thread;
	syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, thread);
	return thread;
}

static void on_signal(int number, siginfo_t *info, void *context_of_signal)
{
	ucontext_t *context = context_of_signal;
	greg_t *rip = &context->uc_mcontext.gregs[REG_RIP];

	(void)number;
	(void)info;
	thread_self()->signal_pending = 1;
	if (*rip >= (greg_t)gate_call_check && *rip <= (greg_t)gate_call_insn)
		*rip = (greg_t)gate_call_abort;
}

void signals_open(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigaction(SIGUSR1, &action, NULL);
}

void pair(int fds[2], int type)
{
	CHECK(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds) == 0);
}

size_t read_all(int fd, char *bytes, size_t size)
{
	size_t got = 0;

	while (got < size) {
		struct pollfd polled = { fd, POLLIN, 0 };
		ssize_t result;

		if (poll(&polled, 1, 2000) <= 0)
			break;
		result = read(fd, bytes + got, size - got);
		if (result <= 0)
			break;
		got += (size_t)result;
	}
	return got;
}

void choose_backend(void)
{
	const char *backend = getenv("RING_URING");

	if (backend && strcmp(backend, "always") == 0)
		enclave.uring_min = 1;
	if (backend && strcmp(backend, "never") == 0)
		enclave.flags = FLAG_NO_URING;
}
