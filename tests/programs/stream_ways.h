/*
 * stream_ways.h - the calls that put bytes into a stream, and those that take them out, as functions of one kind.
 *
 * Owns: a function a call. Must never: wait on a non-blocking socket, or keep bytes back. Used by: stream_order.c,
 * read_ahead.c, stream_mix.c.
 */
#ifndef STREAM_WAYS_H
#define STREAM_WAYS_H

#include "streams.h"

#include <sys/sendfile.h>

enum { PIECE_MAX = 3000, STREAM = 1 << 20 };	/* PIECE_MAX: bytes of one send; STREAM: of the numbered file */

/* A way to send: as send(2), `at` is the number of the first byte. */
typedef long (*send_way)(int fd, char *bytes, size_t size, uint64_t at);

__attribute__((unused)) static int numbers_file(void)
{
	char *bytes = malloc(STREAM), name[32];
	int fd;

	snprintf(name, sizeof(name), "numbers-%d", (int)gettid());
	number_bytes(bytes, 0, STREAM);
	fd = file_of(name, bytes, STREAM);
	GIVES(0, unlink(name));
	free(bytes);
	return fd;
}

__attribute__((unused)) static long by_write(int fd, char *bytes, size_t size, uint64_t at)
{
	(void)at;
	return write(fd, bytes, size);
}

__attribute__((unused)) static long by_sendfile(int fd, char *bytes, size_t size, uint64_t at)
{
	static __thread int file = -1;
	off_t offset = (off_t)at;

	(void)bytes;
	if (file < 0)
		file = numbers_file();
	return sendfile(fd, file, &offset, size);
}

__attribute__((unused)) static long by_splice(int fd, char *bytes, size_t size, uint64_t at)
{
	char rest[PIECE_MAX];
	int pipe_fds[2], code;
	long result;

	(void)at;
	GIVES(0, pipe(pipe_fds));
	GIVES(size, write(pipe_fds[1], bytes, size));
	result = splice(pipe_fds[0], NULL, fd, NULL, size, 0);
	code = errno;
	if (result < (long)size)
		SYS(read(pipe_fds[0], rest, sizeof(rest)));
	GIVES(0, close(pipe_fds[0]));
	GIVES(0, close(pipe_fds[1]));
	errno = code;
	return result;
}

__attribute__((unused)) static long by_sendmmsg(int fd, char *bytes, size_t size, uint64_t at)
{
	struct iovec parts[2] = { { bytes, size / 2 }, { bytes + size / 2, size - size / 2 } };
	struct mmsghdr messages[2] = { 0 };
	long count, sent;

	(void)at;
	messages[0].msg_hdr = (struct msghdr){ .msg_iov = &parts[0], .msg_iovlen = 1 };
	messages[1].msg_hdr = (struct msghdr){ .msg_iov = &parts[1], .msg_iovlen = 1 };
	count = sendmmsg(fd, messages, 2, 0);
	if (count <= 0)
		return count;
	sent = messages[0].msg_len;
	if (count == 2 && sent == (long)parts[0].iov_len)
		sent += messages[1].msg_len;
	else if (count == 2)		/* a hole: nobody could go on from there */
		skip("the second message went after half of the first");
	return sent;
}

__attribute__((unused)) static long by_sendmsg_with_control(int fd, char *bytes, size_t size, uint64_t at)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(4)]; } control = { .header = { CMSG_LEN(4), IPPROTO_IP, IP_TTL } };
	struct iovec part = { bytes, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	(void)at;
	return sendmsg(fd, &message, 0);
}

__attribute__((unused)) static long by_sendto_with_address(int fd, char *bytes, size_t size, uint64_t at)
{
	struct sockaddr_in peer;
	socklen_t length = sizeof(peer);

	(void)at;
	GIVES(0, getpeername(fd, (void *)&peer, &length));
	return sendto(fd, bytes, size, 0, (void *)&peer, length);
}

__attribute__((unused)) static long by_send_with_a_rare_flag(int fd, char *bytes, size_t size, uint64_t at)
{
	(void)at;
	return send(fd, bytes, size, MSG_CONFIRM);
}

__attribute__((unused)) static long by_pwritev2(int fd, char *bytes, size_t size, uint64_t at)
{
	struct iovec part = { bytes, size };

	(void)at;
	return pwritev2(fd, &part, 1, -1, 0);
}

__attribute__((unused)) static long by_a_large_write(int fd, char *bytes, size_t size, uint64_t at)
{
	char large[20000];

	(void)bytes;
	(void)size;
	number_bytes(large, at, sizeof(large));
	return write(fd, large, sizeof(large));
}

/* A way to read: as recv(2), without flags. */
typedef long (*read_way)(int fd, char *bytes, size_t size);

__attribute__((unused)) static long by_read(int fd, char *bytes, size_t size)
{
	return read(fd, bytes, size);
}

__attribute__((unused)) static long by_recvmmsg(int fd, char *bytes, size_t size)
{
	struct iovec parts[3] = { { bytes, size / 3 }, { bytes + size / 3, size / 3 },
				  { bytes + size / 3 * 2, size - size / 3 * 2 } };
	struct mmsghdr messages[3] = { 0 };
	struct timespec limit = { 1, 0 };
	long sum = 0, count;

	for (int i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
	count = recvmmsg(fd, messages, 3, MSG_WAITFORONE, &limit);
	for (long i = 0; i < count; i++) {
		memmove(bytes + sum, parts[i].iov_base, messages[i].msg_len);
		sum += messages[i].msg_len;
	}
	return count < 0 ? count : sum;
}

static long through_pipe(long (*move)(int from, int to, size_t size), int fd, char *bytes, size_t size)
{
	int pipe_fds[2], code;
	long result;

	GIVES(0, pipe(pipe_fds));
	result = move(fd, pipe_fds[1], size);
	code = errno;
	if (result > 0)
		GIVES(result, read(pipe_fds[0], bytes, size));
	GIVES(0, close(pipe_fds[0]));
	GIVES(0, close(pipe_fds[1]));
	errno = code;
	return result;
}

static long splice_move(int from, int to, size_t size)
{
	return splice(from, NULL, to, NULL, size, 0);
}

static long sendfile_move(int from, int to, size_t size)
{
	return sendfile(to, from, NULL, size);
}

__attribute__((unused)) static long by_splice_out(int fd, char *bytes, size_t size)
{
	return through_pipe(splice_move, fd, bytes, size);
}

__attribute__((unused)) static long by_sendfile_out(int fd, char *bytes, size_t size)
{
	return through_pipe(sendfile_move, fd, bytes, size);
}

__attribute__((unused)) static long by_preadv2(int fd, char *bytes, size_t size)
{
	struct iovec parts[2] = { { bytes, size / 2 }, { bytes + size / 2, size - size / 2 } };

	return preadv2(fd, parts, 2, -1, 0);
}

__attribute__((unused)) static long by_recvmsg_with_control(int fd, char *bytes, size_t size)
{
	char control[64];
	struct iovec part = { bytes, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	long result = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);

	CHECK(result < 0 || (message.msg_controllen == 0 && !(message.msg_flags & MSG_TRUNC)));
	return result;
}

#endif
