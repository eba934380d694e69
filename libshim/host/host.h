/*
 * host.h - what the helper's files share.
 *
 * Owns: the HOST section, its syscall instruction, words on shared memory. Must never: name anything outside section
 * host_text: no globals, no string constants, no libc: only the ring and that section are mapped in the helper.
 * Used by: everything in host/.
 */
#ifndef SCONE_HOST_H
#define SCONE_HOST_H

#include <stdbool.h>
#include <asm/errno.h>
#include <asm/unistd.h>
#include <linux/futex.h>
#include "../wire/ring.h"

/* No jump tables (they are read-only data), no calls of memcpy that nobody wrote. */
#pragma GCC optimize("no-jump-tables", "no-tree-loop-distribute-patterns", "no-stack-protector")
#define HOST   __attribute__((section("host_text")))
#define INLINE static inline __attribute__((always_inline))
#pragma GCC visibility push(hidden)

INLINE long host_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

INLINE uint32_t load32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

INLINE void store32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

INLINE uint32_t swap32(uint32_t *word, uint32_t value)
{
	return __atomic_exchange_n(word, value, __ATOMIC_SEQ_CST);
}

INLINE bool change32(uint32_t *word, uint32_t old, uint32_t value)
{
	return __atomic_compare_exchange_n(word, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

INLINE bool change8(uint8_t *byte, uint8_t old, uint8_t value)
{
	return __atomic_compare_exchange_n(byte, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

INLINE uint64_t load64(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

INLINE void futex_wait(uint32_t *word, uint32_t value)
{
	host_syscall(__NR_futex, (long)word, FUTEX_WAIT, value, 0, 0, 0);
}

INLINE void futex_wake(uint32_t *word)
{
	host_syscall(__NR_futex, (long)word, FUTEX_WAKE, 1, 0, 0, 0);
}

INLINE void copy_bytes(void *to, const void *from, unsigned long size)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

INLINE uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

INLINE void pause_cpu(void)
{
	__asm__ volatile("pause");
}

INLINE struct wire_lane *control_lane(struct wire_control *control, uint32_t index)
{
	return (struct wire_lane *)((uint8_t *)control + (uint64_t)(index + 1) * LANE_SIZE);
}

/* Runs syscall call[0] with call[1..6], unless *cancel is `word`: then, or when a signal finds it before the kernel
 * does, RING_NOT_BEGUN. */
HOST long cancellable_call(const uint32_t *cancel, uint32_t word, const int64_t *call);

/* Starts the thread that serves `lane`; its tid or -errno. */
HOST long twin_start(struct wire_control *control, struct wire_lane *lane);

/* Installs the handler of SIGNAL_CANCEL and SIGNAL_CONTROL for the process. */
HOST void twin_handlers(void);

/* Executes the posts made so far, in order; what would block goes to the backlog. Only the lane's twin calls it. */
HOST void posts_serve(struct wire_control *control, struct wire_lane *lane);

/* A send or a receive that does not block. */
struct uring_call {
	bool     sends;
	int32_t  fd;
	uint32_t size, flags;
	const uint8_t *bytes;
	int32_t  result;	/* RING_NOT_BEGUN: io_uring did not take it */
};

/* Does `count` calls at once, at most URING_COUNT_MAX, if there are enough for that and the kernel has io_uring for
 * the lane's twin, which calls this. Calls are begun in order. */
HOST void uring_run(struct wire_control *control, struct wire_lane *lane, struct uring_call *calls, uint32_t count);

/* Tries to send what waits in backlog slot `index`; true when nothing is left. */
HOST bool backlog_serve(struct wire_lane *lane, uint32_t index);

/* What waits for descriptor `from` goes on by `to`, -1: is dropped, and then `after` (enum backlog_after) is done. How many
 * slots of the lane that was. */
HOST long backlog_adopt(struct wire_lane *lane, int32_t from, int32_t to, uint32_t after);

/* connect(2) of `fd` with AF_UNSPEC; when it worked, nothing waits for the descriptor in the lane any more. Its result. */
HOST long backlog_dissolve(struct wire_lane *lane, int32_t fd);

/* The slots of the lane that may be in use, one bit each. */
HOST uint64_t backlog_slots(struct wire_lane *lane);

/* Reads ahead for the events of a turn whose call gave `count`. */
HOST void ahead_serve(struct wire_control *control, struct wire_lane *lane, long count);

/* Where the helper begins, on the starter's stack, with a copy of all of the program's memory. Never returns. */
HOST void helper_start(void *control);

#pragma GCC visibility pop
#endif
