/*
 * descriptor.h - what the shim knows of the program's descriptors.
 *
 * Owns: struct descriptor, one for each number. Must never: be the truth about what is open (the kernel's table is), only
 * about what the shim did with it. Used by: every call on a descriptor.
 */
#ifndef SCONE_DESCRIPTOR_H
#define SCONE_DESCRIPTOR_H

#include "enclave.h"

enum descriptor_kind {
	KIND_UNKNOWN = 0,
	KIND_FILE,		/* regular file or directory */
	KIND_PIPE,
	KIND_STREAM,		/* TCP socket */
	KIND_SOCKET,		/* other socket whose peer does not see who sends */
	KIND_LOCAL,		/* unix or netlink socket: the peer sees who sends */
	KIND_DEVICE,		/* terminals above all: job control asks who calls */
	KIND_ANONYMOUS,		/* eventfd, signalfd, timerfd, pidfd ...: some ask who calls */
	KIND_EPOLL,
};

/* Whether the helper may read ahead of the program. */
enum ahead_state {
	AHEAD_UNKNOWN = 0,
	AHEAD_WATCHED,		/* an event loop watches it, but the program has read nothing: it may give it to another */
	AHEAD_MARKED,		/* the helper may */
	AHEAD_REFUSED,		/* never: others read from it too, or by calls that must find all bytes with the kernel */
};

/* Data that the helper read ahead of the program. */
struct ahead {
	const uint8_t *bytes;	/* untrusted memory, or enclave memory after a fork */
	uint32_t size, used;
	int32_t  result;	/* 0: end of file comes after the bytes; < 0: this error; > 0: more may come */
	uint32_t buffer;
	struct lane *lane;	/* NULL: bytes are the enclave's own */
	bool     is_told;	/* the program knows of what the kernel has behind the bytes: one read gives both */
	bool     is_held;	/* there is a buffer, or a result, that the program has not seen */
};

struct epoll_set;
struct fd_ops;

struct descriptor {
	struct mutex mutex;
	uint8_t  kind;		/* enum descriptor_kind */
	bool     is_nonblocking, is_nonblocking_known;
	bool     is_connected;	/* a byte went through it, or accept gave it: writes may go behind */
	bool     is_shut;	/* for writing, as soon as its backlog is sent */
	bool     is_shared;	/* has other numbers: nothing goes behind */
	uint8_t  ahead_state;	/* enum ahead_state */
	uint8_t  padding;
	uint16_t readers;	/* threads that read by an exit now: nothing is read ahead meanwhile */
	const struct fd_ops *ops;	/* its shield (shield.h), NULL: none */
	void    *object;		/* the shield's */
	struct ahead ahead;
	struct epoll_set *epoll;	/* KIND_EPOLL: what is registered; the last set that has this number, else */
	int32_t  next_held;	/* list of descriptors with ahead.is_held, -1 ends it */
	int32_t  twin;		/* plus one: the next number in the ring of those that hold the same; 0: only this */
};

/* The entry of `fd`, NULL for a number that no program has. Never freed. */
struct descriptor *descriptor_of(int fd);

/* Whether the shim has done nothing with the number since it was opened: its close is the kernel's alone. */
bool descriptor_is_new(int fd);

/* Its kind, asked of the kernel the first time. KIND_UNKNOWN when the number is not open. */
enum descriptor_kind descriptor_kind(int fd);

/* Whether O_NONBLOCK is set, asked of the kernel the first time after a change. */
bool descriptor_is_nonblocking(int fd);

/* The first shielded object of this kind that `is` says is `what`; NULL: none. */
void *descriptor_find(const struct fd_ops *ops, bool (*is)(const void *object, const void *what), const void *what);

/* The first number after `fd` that names an epoll instance, -1: there is none. */
int descriptor_next_epoll(int fd);

/* The number was closed or replaced: forgets what was known. */
void descriptor_forget(int fd);

/* The same for first..last. */
void descriptor_forget_range(uint32_t first, uint32_t last);
#endif
