/*
 * descriptor.c - what the shim knows of the program's descriptors.
 *
 * Owns: the table, grown by pieces and never shrunk. Must never: be asked by a vfork child, whose numbers are its own.
 * Called by: calls on descriptors.
 */
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <asm/stat.h>
#include "descriptor.h"
#include "epoll.h"
#include "shield.h"
#include "stream.h"

enum { PIECE_COUNT = 1024, PIECE_SIZE = 1024, AF_INET_ = 2, AF_INET6_ = 10, SOCK_STREAM_ = 1, SOL_SOCKET_ = 1,
       SO_TYPE_ = 3, SO_DOMAIN_ = 39 };

static struct descriptor *pieces[PIECE_COUNT];

static struct descriptor *piece_make(uint32_t index)
{
	struct descriptor *expected = NULL, *piece = pages_map(PIECE_SIZE * sizeof *piece);

	if (!piece)
		return NULL;
	if (__atomic_compare_exchange_n(&pieces[index], &expected, piece, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return piece;
	gate2(__NR_munmap, piece, PIECE_SIZE * sizeof *piece);
	return expected;
}

struct descriptor *descriptor_of(int fd)
{
	struct descriptor *piece;

	if (fd < 0 || fd >= PIECE_COUNT * PIECE_SIZE)
		return NULL;
	piece = __atomic_load_n(&pieces[fd / PIECE_SIZE], __ATOMIC_ACQUIRE);
	if (unlikely(!piece))
		piece = piece_make((uint32_t)fd / PIECE_SIZE);
	return piece ? &piece[fd % PIECE_SIZE] : NULL;
}

bool descriptor_is_new(int fd)
{
	const struct descriptor *piece, *one;

	if (fd < 0 || fd >= PIECE_COUNT * PIECE_SIZE)
		return true;
	piece = __atomic_load_n(&pieces[fd / PIECE_SIZE], __ATOMIC_ACQUIRE);
	if (!piece)
		return true;
	one = &piece[fd % PIECE_SIZE];
	return !(one->kind | one->is_nonblocking_known | one->is_connected | one->is_shut | one->is_shared | one->ahead_state) &&
	       !one->ops && !one->epoll;
}

void *descriptor_find(const struct fd_ops *ops, bool (*is)(const void *object, const void *what), const void *what)
{
	for (uint32_t i = 0; i < PIECE_COUNT; i++) {
		const struct descriptor *piece = __atomic_load_n(&pieces[i], __ATOMIC_ACQUIRE);

		for (uint32_t at = 0; piece && at < PIECE_SIZE; at++)
			if (piece[at].ops == ops && is(piece[at].object, what))
				return piece[at].object;
	}
	return NULL;
}

int descriptor_next_epoll(int fd)
{
	for (uint32_t at = (uint32_t)(fd + 1); at < PIECE_COUNT * PIECE_SIZE; at++) {
		const struct descriptor *piece = __atomic_load_n(&pieces[at / PIECE_SIZE], __ATOMIC_ACQUIRE);

		if (!piece)
			at |= PIECE_SIZE - 1;
		else if (piece[at % PIECE_SIZE].epoll)
			return (int)at;
	}
	return -1;
}

static long socket_option(int fd, int name)
{
	int value = 0;
	uint32_t size = sizeof value;

	TRY(gate5(__NR_getsockopt, fd, SOL_SOCKET_, name, &value, &size));
	return value;
}

static enum descriptor_kind socket_kind(int fd)
{
	long domain = socket_option(fd, SO_DOMAIN_);

	if (domain != AF_INET_ && domain != AF_INET6_)
		return KIND_LOCAL;
	return socket_option(fd, SO_TYPE_) == SOCK_STREAM_ ? KIND_STREAM : KIND_SOCKET;
}

static enum descriptor_kind kind_ask(int fd)
{
	struct stat status;

	if (gate2(__NR_fstat, fd, &status) < 0)
		return KIND_UNKNOWN;
	switch (status.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFBLK:
		return KIND_FILE;
	case S_IFIFO:
		return KIND_PIPE;
	case S_IFSOCK:
		return socket_kind(fd);
	case S_IFCHR:
		return KIND_DEVICE;
	default:
		return KIND_ANONYMOUS;
	}
}

enum descriptor_kind descriptor_kind(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);

	if (!descriptor)
		return KIND_UNKNOWN;
	if (unlikely(descriptor->kind == KIND_UNKNOWN))
		descriptor->kind = (uint8_t)kind_ask(fd);
	return descriptor->kind;
}

bool descriptor_is_nonblocking(int fd)
{
	struct descriptor *descriptor = descriptor_of(fd);
	long flags;

	if (!descriptor)
		return false;
	if (unlikely(!descriptor->is_nonblocking_known)) {
		flags = gate2(__NR_fcntl, fd, F_GETFL);
		descriptor->is_nonblocking = flags >= 0 && flags & O_NONBLOCK;
		descriptor->is_nonblocking_known = true;
	}
	return descriptor->is_nonblocking;
}

void descriptor_forget(int fd)
{
	struct descriptor *piece, *descriptor;

	if (fd < 0 || fd >= PIECE_COUNT * PIECE_SIZE || thread_self()->gate_only)
		return;
	piece = __atomic_load_n(&pieces[fd / PIECE_SIZE], __ATOMIC_ACQUIRE);
	if (!piece)
		return;
	descriptor = &piece[fd % PIECE_SIZE];
	stream_forget(fd, descriptor);
	epoll_release(descriptor);
	descriptor->kind = KIND_UNKNOWN;
	descriptor->is_nonblocking_known = false;
	descriptor->is_connected = descriptor->is_shut = descriptor->is_shared = false;
	shield_release(descriptor);
}

void descriptor_forget_range(uint32_t first, uint32_t last)
{
	for (uint32_t i = first / PIECE_SIZE; i < PIECE_COUNT && i <= last / PIECE_SIZE; i++) {
		uint32_t from = i * PIECE_SIZE > first ? i * PIECE_SIZE : first;

		if (!__atomic_load_n(&pieces[i], __ATOMIC_ACQUIRE))
			continue;
		for (uint32_t fd = from; fd <= last && fd < (i + 1) * PIECE_SIZE; fd++)
			descriptor_forget((int)fd);
	}
}
