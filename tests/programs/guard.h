/*
 * guard.h - the harness of the syscall programs: one file a program, many cases a file.
 *
 * Owns: CASE (a test, run as `PROGRAM case`), ROLE (what a case execs itself as), the CHECK macros, buffers that end at
 * a guard page, main(). `PROGRAM` alone runs every case, each in a child and in a new directory. A case prints `ok NAME` and exits 0, prints
 * `file:line: condition` and exits 1, or prints its reason to skip and exits 77.
 * Must never: know whether it runs native or wrapped.
 * Used by: every program in this folder; test_programs.py finds the cases by reading the sources.
 */
#ifndef GUARD_H
#define GUARD_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, CASES_MAX = 128, SKIPPED = 77 };

struct test_case {
	const char *name;
	void (*run)(void);
	int is_role;
};

static struct test_case cases[CASES_MAX];
static int case_count;
static int case_argc;
static char **case_argv;

static void case_add(const char *name, void (*run)(void), int is_role)
{
	if (case_count == CASES_MAX)
		abort();
	cases[case_count++] = (struct test_case){ name, run, is_role };
}

#define CASE_AS(name, is_role) \
	static void name(void); \
	__attribute__((constructor)) static void add_##name(void) { case_add(#name, name, is_role); } \
	static void name(void)
#define CASE(name) CASE_AS(name, 0)
#define ROLE(name) CASE_AS(name, 1)
/* A case that only root can run: test_programs.py marks it needs_root. */
#define CASE_ROOT(name) CASE_AS(name, 0)

__attribute__((noreturn, unused)) static void fail(const char *file, int line, const char *what, long result, int code)
{
	dprintf(2, "%s:%d: failed: %s (result %ld, errno %d %s)\n", file, line, what, result, code, strerror(code));
	_exit(1);
}

__attribute__((noreturn, unused)) static void skip(const char *reason)
{
	dprintf(1, "skip: %s\n", reason);
	_exit(SKIPPED);
}

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			fail(__FILE__, __LINE__, #condition, 0, errno); \
	} while (0)

/* The result of a call that must succeed. */
#define SYS(call) \
	({ \
		long sys_result = (long)(call); \
		if (sys_result < 0) \
			fail(__FILE__, __LINE__, #call, sys_result, errno); \
		sys_result; \
	})

/* A call whose result must be exactly `want`. */
#define GIVES(want, call) \
	({ \
		long sys_result = (long)(call); \
		if (sys_result != (long)(want)) \
			fail(__FILE__, __LINE__, #call " must give " #want, sys_result, errno); \
		sys_result; \
	})

/* A call that must fail with errno `code`. */
#define FAILS(code, call) \
	({ \
		errno = 0; \
		long sys_result = (long)(call); \
		if (sys_result != -1 || errno != (code)) \
			fail(__FILE__, __LINE__, #call " must fail with " #code, sys_result, errno); \
	})

/* `size` writable bytes; the byte after them faults. Never freed. */
__attribute__((unused)) static void *guarded(size_t size)
{
	size_t room = (size + PAGE - 1) / PAGE * PAGE;
	char *base = mmap(NULL, room + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED || mprotect(base + room, PAGE, PROT_NONE) != 0)
		fail(__FILE__, __LINE__, "guarded buffer", 0, errno);
	return base + room - size;
}

/* A copy of `size` bytes that ends at a guard page. */
__attribute__((unused)) static void *guarded_copy(const void *bytes, size_t size)
{
	return memcpy(guarded(size), bytes, size);
}

/* A string whose terminating NUL is the last readable byte. */
__attribute__((unused)) static char *guarded_string(const char *text)
{
	return guarded_copy(text, strlen(text) + 1);
}

/* An address that faults for reading and writing. */
__attribute__((unused)) static void *faulting(void)
{
	return (char *)guarded(1) + 1;
}

/* The exit status of `pid`, which must exit, not be killed. */
__attribute__((unused)) static int exit_status(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	if (!WIFEXITED(status))
		fail(__FILE__, __LINE__, "child exited", status, 0);
	return WEXITSTATUS(status);
}

/* The signal that ended `pid`, which must be killed by one. */
__attribute__((unused)) static int death_signal(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0)
		CHECK(errno == EINTR);
	if (!WIFSIGNALED(status))
		fail(__FILE__, __LINE__, "child was killed by a signal", status, 0);
	return WTERMSIG(status);
}

__attribute__((unused)) static void sleep_ms(long ms)
{
	struct timespec rest = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&rest, &rest) != 0 && errno == EINTR)
		;
}

__attribute__((unused)) static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A file of that content in the current directory, open for reading and writing at offset 0. */
__attribute__((unused)) static int file_of(const char *name, const void *bytes, size_t size)
{
	int fd = (int)SYS(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));

	GIVES(size, write(fd, bytes, size));
	GIVES(0, lseek(fd, 0, SEEK_SET));
	return fd;
}

static int run_case(const struct test_case *test)
{
	test->run();
	if (!test->is_role)
		printf("ok %s\n", test->name);
	return 0;
}

static int run_all(void)
{
	int failed = 0;

	for (int i = 0; i < case_count; i++) {
		int status = 0;
		pid_t pid;

		if (cases[i].is_role)
			continue;
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			if (mkdir(cases[i].name, 0755) != 0 || chdir(cases[i].name) != 0)
				fail(__FILE__, __LINE__, "own directory", 0, errno);
			alarm(30);
			exit(run_case(&cases[i]));
		}
		waitpid(pid, &status, 0);
		if (status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)) {
			printf("FAILED %s (wait status %#x)\n", cases[i].name, status);
			failed++;
		}
	}
	return failed != 0;
}

int main(int argc, char **argv)
{
	case_argc = argc;
	case_argv = argv;
	if (argc < 2)
		return run_all();
	for (int i = 0; i < case_count; i++)
		if (strcmp(cases[i].name, argv[1]) == 0)
			return run_case(&cases[i]);
	dprintf(2, "%s: no case %s\n", argv[0], argv[1]);
	return 2;
}

#endif
