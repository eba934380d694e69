/*
 * bypass.c - P1: every way past a preload library that a program can take by itself. Each case makes a syscall in such
 * a way, and it must work as natively; test_bypass.py looks from outside where it entered the kernel.
 *
 * Owns: the ways around. Must never: pass because the way did not run: each case checks its call's effect.
 * Run by: test_bypass.py, native, wrapped, and wrapped under the outside witness.
 */
#include "../programs/guard.h"

#include <dlfcn.h>
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

typedef long (*raw_call)(long nr, long a, long b, long c);

static long raw(long nr, long a, long b, long c)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

/* mov eax, edi; mov rdi, rsi; mov rsi, rdx; mov rdx, rcx; syscall; ret */
static const unsigned char call_code[] = {
	0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6, 0x48, 0x89, 0xca, 0x0f, 0x05, 0xc3,
};

static raw_call generated(void)
{
	unsigned char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	memcpy(page, call_code, sizeof(call_code));
	GIVES(0, mprotect(page, PAGE, PROT_READ | PROT_EXEC));
	return (raw_call)(uintptr_t)page;
}

/* Ten writes into a pipe by `call`, read back by libc. */
static void check_writes(raw_call call)
{
	char back[10];
	int fds[2];

	GIVES(0, pipe(fds));
	for (int i = 0; i < 10; i++)
		GIVES(1, call(SYS_write, fds[1], (long)"0123456789" + i, 1));
	GIVES(10, read(fds[0], back, 10));
	CHECK(memcmp(back, "0123456789", 10) == 0);
	GIVES(-EBADF, call(SYS_write, 999, (long)"x", 1));
	GIVES(0, call(SYS_close, fds[0], 0, 0));
	GIVES(0, call(SYS_close, fds[1], 0, 0));
}

CASE(a_raw_syscall_instruction)
{
	check_writes(raw);
}

static long by_function(long nr, long a, long b, long c)
{
	long result = syscall(nr, a, b, c);

	return result < 0 ? -errno : result;
}

CASE(the_function_syscall_2)
{
	check_writes(by_function);
}

CASE(generated_code)
{
	check_writes(generated());
}

CASE(generated_code_that_is_written_anew)
{
	unsigned char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	for (size_t at = 0; at < 64; at++) {
		memset(page, 0x90, 100);
		memcpy(page + at, call_code, sizeof(call_code));
		check_writes((raw_call)(uintptr_t)page);
	}
}

static void check_library(const char *name)
{
	void *library = dlopen(name, RTLD_NOW);
	raw_call call = library == NULL ? NULL : (raw_call)(uintptr_t)dlsym(library, "library_call");

	if (call == NULL)
		dprintf(2, "%s\n", dlerror());
	CHECK(call != NULL);
	check_writes(call);
	GIVES(0, dlclose(library));
}

static void library_beside_me(char *path, size_t room)
{
	CHECK(SYS(readlink("/proc/self/exe", path, room - 32)) > 0);
	strcpy(strrchr(path, '/'), "/bypass_library.so");
}

CASE(a_library_loaded_later)
{
	char path[PATH_MAX] = "";

	library_beside_me(path, sizeof(path));
	check_library(path);
	check_library(path);
}

CASE(a_library_made_at_run_time)
{
	static char bytes[1 << 16];
	char path[PATH_MAX] = "";
	long size;

	library_beside_me(path, sizeof(path));
	size = SYS(read((int)SYS(open(path, O_RDONLY)), bytes, sizeof(bytes)));
	GIVES(0, close(file_of("made.so", bytes, (size_t)size)));
	check_library("./made.so");
}

static long interrupt_80(long nr)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr) : "r8", "r9", "r10", "r11", "memory");
	return result;
}

/* Number 20 is getpid of the 32-bit table. A kernel without it kills; a boundary may refuse. */
CASE(int_0x80)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = { 0, 0 };
		long result;

		setrlimit(RLIMIT_CORE, &none);
		result = interrupt_80(20);
		_exit(result == getpid() ? 1 : result < 0 ? 2 : 3);
	}
	GIVES(child, waitpid(child, &status, 0));
	if (WIFSIGNALED(status))
		printf("int 0x80: killed by %d\n", WTERMSIG(status));
	else
		printf("int 0x80: %s\n", WEXITSTATUS(status) == 1 ? "works" : "refused");
	CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) <= 2);
}

static char bare_stack[65536] __attribute__((aligned(16)));
static volatile int bare_tid, bare_result;
static raw_call bare_call;

static int bare_thread(void *argument)
{
	bare_result = (int)bare_call(SYS_write, *(int *)argument, (long)"b", 1) +
		      (int)raw(SYS_write, *(int *)argument, (long)"r", 1);
	bare_call(SYS_exit, 0, 0, 0);
	return 0;
}

CASE(a_thread_without_pthreads)
{
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
		    CLONE_CHILD_CLEARTID;
	char back[2];
	int fds[2], value;

	GIVES(0, pipe(fds));
	bare_call = generated();
	bare_tid = 1;
	SYS(clone(bare_thread, bare_stack + sizeof(bare_stack), flags, &fds[1], NULL, NULL, &bare_tid));
	while ((value = bare_tid) != 0)
		syscall(SYS_futex, &bare_tid, FUTEX_WAIT, value, NULL, NULL, 0);
	CHECK(bare_result == 2);
	GIVES(2, read(fds[0], back, 2));
	CHECK(memcmp(back, "br", 2) == 0);
}

/* A clone that is itself generated code: the child's first instruction is after an unknown syscall. */
CASE(a_child_of_generated_clone)
{
	raw_call call = generated();
	int fds[2];
	char byte = 0;
	long child;

	GIVES(0, pipe(fds));
	child = call(SYS_fork, 0, 0, 0);
	if (child == 0) {
		call(SYS_write, fds[1], (long)"f", 1);
		call(SYS_exit_group, 5, 0, 0);
	}
	GIVES(5, exit_status((pid_t)child));
	GIVES(1, read(fds[0], &byte, 1));
	child = call(SYS_clone, SIGCHLD, 0, 0);
	if (child == 0) {
		call(SYS_write, fds[1], (long)"c", 1);
		call(SYS_exit_group, 6, 0, 0);
	}
	GIVES(6, exit_status((pid_t)child));
	GIVES(1, read(fds[0], &byte, 1));
	CHECK(byte == 'c');
}

CASE(a_vfork_child)
{
	raw_call call = generated();
	int fds[2];
	char back[3];
	pid_t child;

	GIVES(0, pipe(fds));
	child = vfork();
	if (child == 0) {
		long sum = raw(SYS_write, fds[1], (long)"1", 1) + call(SYS_write, fds[1], (long)"2", 1);

		_exit(sum + write(fds[1], "3", 1) != 3);
	}
	GIVES(0, exit_status(child));
	GIVES(3, read(fds[0], back, 3));
	CHECK(memcmp(back, "123", 3) == 0);
}

static int handler_fd, handler_count;
static raw_call handler_call;

static void handler(int number)
{
	handler_count += number == SIGUSR1;
	CHECK(raw(SYS_write, handler_fd, (long)"h", 1) == 1 && handler_call(SYS_write, handler_fd, (long)"g", 1) == 1);
}

CASE(a_signal_handler_on_an_alternate_stack)
{
	stack_t stack = { .ss_sp = guarded(16384), .ss_size = 16384 };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	char back[20];
	int fds[2];

	GIVES(0, pipe(fds));
	handler_fd = fds[1];
	handler_call = generated();
	GIVES(0, sigaltstack(&stack, NULL));
	GIVES(0, sigaction(SIGUSR1, &action, NULL));
	for (int i = 0; i < 10; i++)
		GIVES(0, raise(SIGUSR1));
	CHECK(handler_count == 10);
	GIVES(20, read(fds[0], back, 20));
	CHECK(memcmp(back, "hghghg", 6) == 0);
}

CASE(generated_code_with_every_signal_blocked)
{
	sigset_t all, now;

	sigfillset(&all);
	GIVES(0, sigprocmask(SIG_SETMASK, &all, NULL));
	check_writes(generated());
	check_writes(raw);
	GIVES(0, sigprocmask(SIG_BLOCK, NULL, &now));
	CHECK(sigismember(&now, SIGSYS) == 1);
}

static volatile sig_atomic_t own_traps;

static void own_sigsys(int number)
{
	own_traps += number == SIGSYS;
}

CASE(a_handler_of_its_own_for_sigsys)
{
	struct sigaction action = { .sa_handler = own_sigsys }, ignore = { .sa_handler = SIG_IGN };

	GIVES(0, sigaction(SIGSYS, &action, NULL));
	check_writes(generated());
	CHECK(own_traps == 0);
	GIVES(0, raise(SIGSYS));
	CHECK(own_traps == 1);
	GIVES(0, sigaction(SIGSYS, &ignore, NULL));
	check_writes(generated());
}

/* Turning the dispatch off must not be the program's to do. */
CASE(switching_the_dispatch_off)
{
	long result = syscall(SYS_prctl, 59, 0, 0, 0, 0);

	check_writes(generated());
	printf("dispatch off: %s\n", result == 0 ? "allowed" : "refused");
}

static long io_uring_setup_by(raw_call call)
{
	char params[120] = { 0 };

	return call(425, 4, (long)guarded_copy(params, sizeof(params)), 0);
}

CASE(io_uring)
{
	long by_raw = io_uring_setup_by(raw), by_generated = io_uring_setup_by(generated());

	printf("io_uring: %s %s\n", by_raw >= 0 ? "allowed" : "refused", by_generated >= 0 ? "allowed" : "refused");
	CHECK(syscall(426, 999, 1, 0, 0, NULL, 0) == -1 && syscall(427, 999, 0, NULL, 0) == -1);
}

ROLE(role_raw_write)
{
	GIVES(3, raw(SYS_write, 1, (long)"raw", 3));
	GIVES(3, generated()(SYS_write, 1, (long)"gen", 3));
}

CASE(an_exec_with_an_empty_environment)
{
	char back[6];
	int fds[2];
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		char *arguments[] = { case_argv[0], "role_raw_write", NULL }, *none[] = { NULL };

		GIVES(1, dup2(fds[1], 1));
		raw(SYS_execve, (long)"/proc/self/exe", (long)arguments, (long)none);
		_exit(1);
	}
	GIVES(0, exit_status(child));
	GIVES(6, read(fds[0], back, 6));
	CHECK(memcmp(back, "rawgen", 6) == 0);
}

/* The last page of code that a library maps itself, without dlopen: a private copy of the file's text. */
CASE(code_mapped_from_a_file_by_hand)
{
	int fd = file_of("code", call_code, sizeof(call_code));
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);

	CHECK(page != MAP_FAILED);
	check_writes((raw_call)(uintptr_t)page);
}

static void *generated_in_thread(void *argument)
{
	check_writes(generated());
	check_writes(raw);
	return argument;
}

CASE(generated_code_in_eight_threads)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		GIVES(0, pthread_create(&threads[i], NULL, generated_in_thread, NULL));
	for (int i = 0; i < 8; i++)
		GIVES(0, pthread_join(threads[i], NULL));
}
