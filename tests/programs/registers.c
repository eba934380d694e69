/*
 * registers.c - what a syscall may change: rax, rcx, r11 and what it is asked to write. Nothing else.
 *
 * Owns: the cases for registers, flags, the red zone and the vector state. Must never: call libc between filling and
 * comparing. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <cpuid.h>
#include <immintrin.h>
#include <pthread.h>

struct general {
	uint64_t rbx, rbp, rsi, rdi, rdx, r8, r9, r10, r12, r13, r14, r15, result, stack_moved;
};

/*
 * Makes syscall `nr` with every general register holding a known value and stores them afterwards. The structure's
 * address is kept on the stack, below which nothing may be lost.
 */
__attribute__((naked, noinline)) static void call_with_known_registers(struct general *state, long nr)
{
	(void)state;
	(void)nr;
	__asm__ volatile(
		"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n push %rdi\n"
		"mov %rsi, %rax\n"
		"mov (%rdi), %rbx\n mov 8(%rdi), %rbp\n mov 16(%rdi), %rsi\n mov 32(%rdi), %rdx\n"
		"mov 40(%rdi), %r8\n mov 48(%rdi), %r9\n mov 56(%rdi), %r10\n mov 64(%rdi), %r12\n"
		"mov 72(%rdi), %r13\n mov 80(%rdi), %r14\n mov 88(%rdi), %r15\n"
		"mov %rsp, 104(%rdi)\n mov 24(%rdi), %rdi\n"
		"syscall\n"
		"mov %rdi, %r11\n mov (%rsp), %rdi\n"
		"mov %rbx, (%rdi)\n mov %rbp, 8(%rdi)\n mov %rsi, 16(%rdi)\n mov %r11, 24(%rdi)\n"
		"mov %rdx, 32(%rdi)\n mov %r8, 40(%rdi)\n mov %r9, 48(%rdi)\n mov %r10, 56(%rdi)\n"
		"mov %r12, 64(%rdi)\n mov %r13, 72(%rdi)\n mov %r14, 80(%rdi)\n mov %r15, 88(%rdi)\n"
		"mov %rax, 96(%rdi)\n mov 104(%rdi), %rax\n sub %rsp, %rax\n mov %rax, 104(%rdi)\n"
		"pop %rdi\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
}

static void check_registers_over(long nr, uint64_t first, uint64_t second, uint64_t third, long want)
{
	struct general before = {
		0x1111, 0x2222, second, first, third, 0x8888, 0x9999, 0xaaaa, 0xcccc, 0xdddd, 0xeeee, 0xffff, 0, 0,
	};
	struct general after = before;

	call_with_known_registers(&after, nr);
	CHECK((long)after.result == want && after.stack_moved == 0);
	after.result = before.result;
	CHECK(memcmp(&before, &after, sizeof(before)) == 0);
}

CASE(general_registers_survive_system_calls)
{
	int fds[2];
	char *back = guarded(8);

	GIVES(0, pipe(fds));
	for (int i = 0; i < 1000; i++) {
		check_registers_over(SYS_getpid, 1, 2, 3, getpid());
		check_registers_over(SYS_write, (uint64_t)fds[1], (uint64_t)"12345678", 8, 8);
		check_registers_over(SYS_read, (uint64_t)fds[0], (uint64_t)back, 8, 8);
		check_registers_over(SYS_read, 999, (uint64_t)back, 8, -EBADF);
		check_registers_over(SYS_write, (uint64_t)fds[1], (uint64_t)faulting() & ~7ul, 1, -EFAULT);
	}
}

/* A leaf function keeps its values in the red zone; a syscall must not touch the 128 bytes below the stack pointer. */
__attribute__((naked, noinline)) static long sum_of_red_zone(long nr, long a, long b, long c)
{
	(void)nr;
	(void)a;
	(void)b;
	(void)c;
	__asm__ volatile(
		"mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n"
		"movq $1, -8(%rsp)\n movq $2, -16(%rsp)\n movq $4, -24(%rsp)\n movq $8, -64(%rsp)\n"
		"movq $16, -120(%rsp)\n movq $32, -128(%rsp)\n"
		"syscall\n"
		"mov -8(%rsp), %rax\n add -16(%rsp), %rax\n add -24(%rsp), %rax\n add -64(%rsp), %rax\n"
		"add -120(%rsp), %rax\n add -128(%rsp), %rax\n ret\n");
}

CASE(the_red_zone_survives_system_calls)
{
	int fds[2];
	char *back = guarded(2);

	GIVES(0, pipe(fds));
	for (int i = 0; i < 1000; i++) {
		GIVES(63, sum_of_red_zone(SYS_getpid, 0, 0, 0));
		GIVES(63, sum_of_red_zone(SYS_write, fds[1], (long)"ab", 2));
		GIVES(63, sum_of_red_zone(SYS_read, fds[0], (long)back, 2));
	}
}

/* Loads all vector registers of a width from 16 rows, makes a syscall, stores them to 16 rows. */
#define VECTOR_CALL(name, row, move, register_name, target_features) \
	__attribute__((noinline, target(target_features))) static long name(const char *in, char *out, long nr, long a, \
									    long b, long c) \
	{ \
		long result = nr; \
		__asm__ volatile( \
			".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" \
			move " \\n*" #row "(%[in]), %%" register_name "\\n\n.endr\n" \
			"syscall\n" \
			".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" \
			move " %%" register_name "\\n, \\n*" #row "(%[out])\n.endr\n" \
			: "+a"(result), "+D"(a), "+S"(b), "+d"(c) \
			: [in] "r"(in), [out] "r"(out) \
			: "rcx", "r11", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
			  "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); \
		return result; \
	}

VECTOR_CALL(call_with_xmm, 16, "movups", "xmm", "sse2")
VECTOR_CALL(call_with_ymm, 32, "vmovups", "ymm", "avx")
VECTOR_CALL(call_with_zmm, 64, "vmovups", "zmm", "avx512f")

typedef long (*vector_call)(const char *in, char *out, long nr, long a, long b, long c);

static void check_vectors(vector_call call, size_t size)
{
	char in[1024], out[1024];
	int fds[2], fd = file_of("v", "12345678", 8);
	char *back = guarded(8);
	struct stat st;

	GIVES(0, pipe(fds));
	for (int i = 0; i < 500; i++) {
		for (size_t j = 0; j < sizeof(in); j++)
			in[j] = (char)(j * 7 + (size_t)i);
		memset(out, 0, sizeof(out));
		GIVES(8, call(in, out, SYS_write, fds[1], (long)"12345678", 8));
		CHECK(memcmp(in, out, size) == 0);
		memset(out, 0, sizeof(out));
		GIVES(8, call(in, out, SYS_read, fds[0], (long)back, 8));
		CHECK(memcmp(in, out, size) == 0);
		GIVES(0, call(in, out, SYS_fstat, fd, (long)&st, 0));
		CHECK(memcmp(in, out, size) == 0);
		GIVES(-EBADF, call(in, out, SYS_fsync, 999, 0, 0));
		CHECK(memcmp(in, out, size) == 0);
	}
}

CASE(xmm_registers_survive_system_calls)
{
	check_vectors(call_with_xmm, 256);
}

CASE(ymm_registers_survive_system_calls)
{
	if (!__builtin_cpu_supports("avx"))
		skip("this processor has no AVX");
	check_vectors(call_with_ymm, 512);
}

CASE(zmm_registers_survive_system_calls)
{
	if (!__builtin_cpu_supports("avx512f"))
		skip("this processor has no AVX-512");
	check_vectors(call_with_zmm, 1024);
}

/* The control words are the program's too: a shim that computes must not change rounding or exception masks. */
CASE(mxcsr_and_the_x87_control_word_survive)
{
	unsigned mxcsr = _mm_getcsr();
	uint16_t word = 0x0f7f, now = 0;
	int fd = (int)SYS(open("/dev/null", O_WRONLY));

	_mm_setcsr((mxcsr & ~0x6000u) | 0x4000u);
	__asm__ volatile("fldcw %0" : : "m"(word));
	for (int i = 0; i < 100; i++)
		GIVES(1, syscall(SYS_write, fd, "x", 1));
	__asm__ volatile("fnstcw %0" : "=m"(now));
	CHECK(now == word && (_mm_getcsr() & 0x6000u) == 0x4000u);
	_mm_setcsr(mxcsr);
}

/* The direction flag must be clear for C code in the shim and may be set in the program. */
CASE(a_set_direction_flag_is_survived)
{
	long result, flags;
	int fd = (int)SYS(open("/dev/null", O_WRONLY));

	for (int i = 0; i < 100; i++) {
		__asm__ volatile("std\n\tsyscall\n\tpushfq\n\tpop %1\n\tcld"
				 : "=a"(result), "=&r"(flags)
				 : "a"(SYS_write), "D"(fd), "S"("abc"), "d"(3L) : "rcx", "r11", "memory", "cc");
		CHECK(result == 3 && flags & 0x400);
	}
}

static volatile int storm_on = 1;

static void spoil_vectors(int number)
{
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm7, %%xmm7\n\tpcmpeqd %%xmm15, %%xmm15"
			 : : : "xmm0", "xmm7", "xmm15");
	CHECK(number == SIGUSR1 && getppid() > 0);
}

static void *send_storm(void *argument)
{
	while (storm_on)
		pthread_kill(*(pthread_t *)argument, SIGUSR1), sched_yield();
	return NULL;
}

CASE(vectors_survive_system_calls_interrupted_by_signals)
{
	struct sigaction action = { .sa_handler = spoil_vectors, .sa_flags = SA_RESTART };
	pthread_t self = pthread_self(), thread;

	GIVES(0, sigaction(SIGUSR1, &action, NULL));
	GIVES(0, pthread_create(&thread, NULL, send_storm, &self));
	check_vectors(call_with_xmm, 256);
	storm_on = 0;
	GIVES(0, pthread_join(thread, NULL));
}
