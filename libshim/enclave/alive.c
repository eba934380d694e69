/*
 * alive.c - whether the runtime host is still there.
 *
 * Owns: enclave.alive_fd, the reading end of a pipe of which only the runtime has the other. Must never: share the open
 * file with another process: the kernel signals one owner for each. Called by: start.c, clone.c, signal.c,
 * pass.c.
 *
 *   runtime ends, however ─► kernel closes its end ─► SIGSYS (SI_SIGIO) to the owner of each open file ─► alive_check
 *
 * Every process opens the pipe anew for itself, by /proc, before its first call that may block: a child that only computes,
 * or executes another program, does without. Where there is no /proc (a root directory of its own), a process learns of the
 * end when it next needs the runtime.
 */
#include <asm/signal.h>
#include <asm/stat.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include "alive.h"

static bool is_gone(void)
{
	struct pollfd end = { enclave.alive_fd, 0, 0 };

	return gate3(__NR_poll, &end, 1, 0) == 1 && end.revents & POLLHUP;
}

void alive_check(void)
{
	if (enclave.alive_fd > 0 && is_gone())
		die("the runtime host is gone: something killed it");
}

/* The pipe, opened anew as process `pid` has it. */
static long open_of(long pid)
{
	char path[64];
	struct text text = { path, 0, sizeof path };
	struct stat wanted, found;
	long own;

	text_add(&text, "/proc/");
	text_add_number(&text, pid);
	text_add(&text, "/fd/");
	text_add_number(&text, enclave.alive_fd);
	own = gate4(__NR_openat, AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
	TRY(own);
	if (gate2(__NR_fstat, own, &found) == 0 && gate2(__NR_fstat, enclave.alive_fd, &wanted) == 0 &&
	    found.st_ino == wanted.st_ino && found.st_dev == wanted.st_dev)
		return own;
	gate1(__NR_close, own);
	return -EBADF;
}

/* The parent's folder of /proc first: the kernel has it at hand from earlier children, a new one costs 40 us more. */
static void watch(void)
{
	long own = open_of(gate0(__NR_getppid));

	if (own < 0)
		own = open_of(gate0(__NR_getpid));
	if (own < 0)
		return;
	gate3(__NR_fcntl, own, F_SETSIG, SIGSYS);
	gate3(__NR_fcntl, own, F_SETOWN, gate0(__NR_getpid));
	gate3(__NR_fcntl, own, F_SETFL, O_NONBLOCK | FASYNC);
	gate3(__NR_dup3, own, enclave.alive_fd, 0);
	gate1(__NR_close, own);
}

void alive_watch(void)
{
	if (thread_self()->gate_only || !__atomic_exchange_n(&enclave.is_unwatched, false, __ATOMIC_ACQ_REL))
		return;
	enclave.has_extra = enclave.exit_cost != 0;
	watch();
	alive_check();
}

void alive_after_fork(void)
{
	if (enclave.alive_fd > 0)
		enclave.is_unwatched = enclave.has_extra = true;
}

/* After an exec the open file may be this process's already. */
void alive_start(void)
{
	enclave.has_extra = enclave.exit_cost != 0;
	if (enclave.alive_fd > 0 && gate2(__NR_fcntl, enclave.alive_fd, F_GETOWN) == gate0(__NR_getpid))
		alive_check();
	else
		alive_after_fork();
}
