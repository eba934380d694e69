/*
 * enclave.h - what every file of the enclave may use: error idiom, memory, process-wide state.
 *
 * Owns: struct enclave (one a process), TRY, NODISCARD, mutex. Must never: include a libc header; kernel ABI only.
 * Used by: everything in enclave/.
 */
#ifndef SCONE_ENCLAVE_H
#define SCONE_ENCLAVE_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <asm/unistd.h>
#include <asm/errno.h>
#include "frame.h"
#include "thread.h"
#include "gate.h"

#define HOT __attribute__((hot))	/* on the way of nearly every call: such functions lie together */
#define NODISCARD __attribute__((warn_unused_result))
#define TRY(expression) do { long try_result_ = (expression); if (try_result_ < 0) return try_result_; } while (0)
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define PAGE_SIZE 4096UL

enum enclave_mode { MODE_SYNC = 0, MODE_ASYNC = 1 };

enum enclave_flags {
	FLAG_TRACE         = 1u << 0,
	FLAG_TRACE_FAILING = 1u << 1,
	FLAG_STATS         = 1u << 2,
	FLAG_NO_URING      = 1u << 3,
	FLAG_FIRST         = 1u << 4,	/* the process that scone-wrap became; its children lose it */
	FLAG_POLICY        = 1u << 5,	/* nothing runs before the runtime has handed over a policy */
	FLAG_EXECED        = 1u << 6,	/* this image was executed by a wrapped process */
	FLAG_COUNTED       = 1u << 7,	/* and that process has counted itself: it is no vfork child */
	FLAG_LIVE          = 1u << 8,	/* counts are to be read while the process runs (live.c) */
	FLAG_LATENCY       = 1u << 9,	/* and each call is timed */
	FLAG_LOG           = 1u << 10,	/* the runtime writes what the shim has to say */
	FLAG_VOLUMES       = 1u << 11,	/* the answer to HELLO brings volumes */
};

enum { OWN_CONTAINERS = 2, OWN_COUNT = OWN_CONTAINERS + 8 };

struct enclave {
	uint32_t mode;			/* enum enclave_mode */
	uint32_t flags;			/* enum enclave_flags */
	union {			/* the shim's own descriptors, which the program must not see or reach */
		struct {
			int32_t  control_fd;		/* -1: no runtime */
			int32_t  alive_fd;		/* alive.c; 0: none */
		};
		int32_t own_fd[OWN_COUNT];	/* from OWN_CONTAINERS on those of volumes; 0: none */
	};
	uint32_t uring_min;		/* fewest calls the helper gives io_uring at once; 0: as it is best */
	uint64_t exit_cost;		/* TSC cycles burned by each synchronous exit of a host call */
	uint64_t text_start, text_end;	/* executable range of the shim, door code included */
	bool     has_fsgsbase;
	bool     is_exit_dear;		/* a synchronous exit costs more than a crossing of the ring: all that can crosses there */
	bool     is_watched;		/* calls are traced, or a policy or a shield may have a say in them */
	bool     is_unwatched;		/* this process is not yet told when the runtime ends (alive.c) */
	bool     has_extra;		/* exit_cost is not 0, or is_unwatched: something is to be done before an exit by the gate */
	bool     has_policy;		/* the runtime handed one over (policy.h) */
	bool     has_shields;		/* some descriptor has, or had, a shield */
	bool     has_volumes;		/* paths may lead into one (volumes.h) */
	bool     is_ringing;		/* there is a helper, or may be data that one has moved */
	bool     has_signalfd;		/* its readiness depends on who asks: waits take the gate from now on */
	const char *shim_path;		/* as it stood in LD_PRELOAD */
};

/* Cycles of --exit-cost from which a crossing is cheaper than an exit: handing over costs 4,000 to 10,000 (docs/decisions.md). */
enum { CROSSING_CYCLES = 4000 };

extern struct enclave enclave;

/* A piece of the program's memory: the kernel's struct iovec. */
struct io_part { uint64_t base, size; };

/* Futex mutex; never held while the program's code runs. Zero is unlocked. */
struct mutex { uint32_t state; };
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

/* Freestanding memory functions; the compiler calls the first three by itself. */
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t string_size(const char *string);			/* without the NUL */
bool string_equal(const char *a, const char *b);
bool string_starts(const char *string, const char *prefix);

/* Copies between enclave and program memory, either of which may not be there: 0 or -EFAULT. */
NODISCARD long copy_guarded(void *to, const void *from, size_t size);

/* Copies a NUL-terminated string of the program: its size without NUL, -EFAULT, or -ENAMETOOLONG at `capacity`. */
NODISCARD long copy_string(char *to, const char *from, size_t capacity);

/* Anonymous private pages; NULL when the host refuses. */
void *pages_map(size_t size);

/* Stops the process, closed, with one line on its stderr and an event for the runtime. */
_Noreturn void die(const char *reason);
_Noreturn void die_number(const char *reason, long number);

/* Bounded text: always NUL-terminated, cut where it does not fit. */
struct text { char *bytes; size_t size, capacity; };
void text_add(struct text *text, const char *string);
void text_add_number(struct text *text, long number);
void text_add_hex(struct text *text, uint64_t number);

/* Writes one line "scone: ..." to the program's stderr; with FLAG_LOG the runtime is told it instead. */
void say(const char *line);

#endif
