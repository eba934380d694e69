/*
 * shape.h - what the spec says of a syscall, as data.
 *
 * Owns: the types of the generated table call_shapes[] (build/gen/calls.gen.c), which the marshaller, the reply
 * checker and the dispatcher interpret. Must never: hold anything that depends on a running program.
 * Used by: dispatch.c, pass.c, check.c, believe.c; the generator (scone_preload/codegen/calls_c.py) writes the table.
 */
#ifndef SCONE_SHAPE_H
#define SCONE_SHAPE_H

#include <stdint.h>

enum { CALL_COUNT = 512 };	/* x86-64 numbers 0..511; what is not a syscall has route ROUTE_DENY */

enum call_route {
	ROUTE_DENY = 0,		/* refused with shape.deny_errno, reported once */
	ROUTE_INSIDE,		/* executed for the enclave by the gate, result not shielded */
	ROUTE_RUNTIME,		/* asked of the runtime host */
	ROUTE_HOST,		/* leaves by an exit */
};

enum call_exit {
	EXIT_GATE = 0,		/* its result depends on who makes it: always the program's own thread */
	EXIT_ANY,		/* by ring in async mode, by gate in sync mode */
};

enum result_kind {
	RESULT_ANY = 0,		/* any value >= 0, or an allowed errno */
	RESULT_ZERO,		/* 0 */
	RESULT_AT_MOST,		/* 0 .. value of argument result_arg */
	RESULT_AT_MOST_SUM,	/* 0 .. sum of lengths of the iovec/msghdr in argument result_arg */
	RESULT_COUNT,		/* 0 .. element count in argument result_arg (epoll_wait, poll: nfds) */
	RESULT_FD,		/* a descriptor number: 0 .. INT_MAX */
	RESULT_PID,		/* 0 .. 2^22 */
	RESULT_OFFSET,		/* 0 .. INT64_MAX */
	RESULT_ADDRESS,		/* page aligned user address, or errno */
	RESULT_NEVER,		/* does not return (exit) */
	RESULT_EXACTLY,		/* the descriptor number in argument result_arg (dup2) */
	RESULT_AT_LEAST,	/* a descriptor number, that of argument result_arg or above (F_DUPFD) */
	RESULT_OWNER,		/* a pid, or a process group as a negative number; or an allowed errno */
};

enum restart_class {
	RESTART_NEVER = 0,	/* not interruptible, or EINTR always (poll, select, epoll_wait, nanosleep) */
	RESTART_SA,		/* restarted when the handler has SA_RESTART (read, write, accept, wait4, flock, ...) */
};

enum call_flags {
	CALL_RENEWS_HELPER = 1u << 0,	/* changes identity or limits that the helper must share */
	CALL_MAY_BLOCK     = 1u << 1,
	CALL_NEW_FD        = 1u << 2,
	CALL_NEVER_RETURNS = 1u << 3,
	CALL_MSG_TRUNC     = 1u << 4,	/* if argument result_arg + 1 has MSG_TRUNC, a result past the bound is believed */
	CALL_SIZE_QUERY    = 1u << 5,	/* if argument result_arg is 0 the result is a size wanted: any >= 0 is believed */
};

enum arg_kind {
	ARG_NONE = 0,
	ARG_VALUE,		/* integer, passed as it is */
	ARG_FD,			/* descriptor number */
	ARG_PATH,		/* in: NUL-terminated string */
	ARG_IN,			/* in: bytes; size = value of argument size_arg times size (element size) */
	ARG_OUT,		/* out: bytes; reserved like ARG_IN, copied back min(result, reserved) times size when RESULT_AT_MOST/COUNT
				 * names this size_arg, else whole on success */
	ARG_INOUT,		/* both, whole; of elements with a back_size only that field comes back */
	ARG_IN_STRUCT,		/* in: `size` bytes; may be NULL */
	ARG_OUT_STRUCT,		/* out: `size` bytes, then check(struct); may be NULL */
	ARG_INOUT_STRUCT,	/* both */
	ARG_IN_SOCKADDR,	/* in: size = value of argument size_arg (<= 128) */
	ARG_OUT_SOCKADDR,	/* out: capacity in the socklen_t that argument size_arg points to; may be NULL */
	ARG_SOCKLEN,		/* inout socklen_t of the sockaddr/optval before it; reply must be <= 128 (sockaddr) or given (optval) */
	ARG_OUT_SIZED,		/* out: like ARG_OUT_SOCKADDR without the sockaddr limit (getsockopt) */
	ARG_IOVEC_IN,		/* in: iovec array, count = value of argument size_arg; data flows out of the enclave */
	ARG_IOVEC_OUT,		/* iovec array; data flows into the enclave */
	ARG_MSG_IN,		/* struct msghdr for sendmsg */
	ARG_MSG_OUT,		/* struct msghdr for recvmsg */
	ARG_MSGS_IN,		/* array of struct mmsghdr, count = value of argument size_arg: gate only */
	ARG_MSGS_OUT,		/* the same, for recvmmsg: gate only */
	ARG_ADDRESS,		/* an address of the program that the kernel uses as a number or in place (mmap, futex): gate only */
	ARG_FDSET,		/* inout fd_set of (value of argument size_arg + 63) / 64 words; may be NULL */
	ARG_PATH_ARRAY,		/* argv/envp: NULL-terminated array of strings: gate only */
};

typedef int (*struct_check)(const void *bytes);	/* 1: believable, 0: refuse the reply */

struct arg_shape {
	uint8_t  kind;
	uint8_t  size_arg;	/* index of the argument that holds the count */
	uint16_t size;		/* bytes: of the struct, or of one element */
	uint16_t back_at;	/* the one field of each element that comes back: where, and its bytes (0: all of them do) */
	uint16_t back_size;
	struct_check check;	/* for each out struct or element; NULL: anything is believed */
};

struct frame;
struct reply;

/* What no range can say of a reply (predicates.h): the result as the program gets it, or -EIO, counted and reported. */
typedef long (*predicate)(const struct reply *reply);

/* What a call needs of its row is in the first cache line, but for what its arguments point to. */
struct call_shape {
	const char *name;	/* NULL: no such syscall */
	long (*handler)(struct frame *frame);
	uint8_t route;		/* enum call_route */
	uint8_t exit;		/* enum call_exit */
	uint8_t result;		/* enum result_kind */
	uint8_t result_arg;
	uint8_t restart;	/* enum restart_class */
	uint8_t flags;		/* enum call_flags */
	uint8_t arg_count;
	uint8_t checked_args;	/* bit i: what the kernel wrote by argument i is checked: an address's size, or by check */
	uint16_t deny_errno;
	uint8_t fd_args;	/* bit i: argument i is a descriptor */
	uint8_t path_args;	/* bit i: argument i is a path */
	uint32_t reserved;
	uint64_t errnos[3];	/* bit n: -n is believable. Bit 0 unused. */
	predicate believe;	/* NULL: result, errno and struct fields say it all */
	struct arg_shape arg[6];
	uint64_t padding[4];	/* so that the next row begins in a cache line of its own */
};

_Static_assert(sizeof(struct call_shape) % 64 == 0, "cache lines");

extern const struct call_shape call_shapes[CALL_COUNT];

#endif
