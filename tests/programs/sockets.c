/*
 * sockets.c - stream and datagram sockets on loopback and unix paths.
 *
 * Owns: the cases for connections, readiness, half-close, options, timeouts. Must never: leave loopback or use a
 * fixed port. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int listener(struct sockaddr_in *address)
{
	socklen_t *size = guarded_copy(&(socklen_t){ sizeof(*address) }, sizeof(socklen_t));
	int fd = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));

	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	GIVES(0, bind(fd, (void *)guarded_copy(address, sizeof(*address)), sizeof(*address)));
	GIVES(0, listen(fd, 16));
	GIVES(0, getsockname(fd, (void *)address, size));
	CHECK(*size == sizeof(*address) && address->sin_port != 0);
	return fd;
}

/* A connected TCP pair: pair[0] the client, pair[1] the server side. */
static void tcp_pair(int pair[2])
{
	struct sockaddr_in address;
	int fd = listener(&address);

	pair[0] = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	GIVES(0, connect(pair[0], (void *)&address, sizeof(address)));
	pair[1] = (int)SYS(accept(fd, NULL, NULL));
	GIVES(0, close(fd));
}

static void wait_readable(int fd)
{
	GIVES(1, poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 5000));
}

CASE(a_tcp_connection_carries_both_directions)
{
	struct sockaddr_in address, *peer = guarded(sizeof(*peer));
	socklen_t size = sizeof(*peer);
	char *back = guarded(4);
	int server = listener(&address);
	int client = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	int side;

	GIVES(0, connect(client, (void *)guarded_copy(&address, sizeof(address)), sizeof(address)));
	side = (int)SYS(accept4(server, (void *)peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
	CHECK(size == sizeof(*peer) && peer->sin_family == AF_INET && peer->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	CHECK(fcntl(side, F_GETFD) == FD_CLOEXEC && fcntl(side, F_GETFL) & O_NONBLOCK);
	FAILS(EAGAIN, recv(side, back, 4, 0));
	GIVES(4, send(client, "ping", 4, 0));
	wait_readable(side);
	GIVES(4, recv(side, back, 4, 0));
	CHECK(memcmp(back, "ping", 4) == 0);
	GIVES(4, write(side, "pong", 4));
	GIVES(4, read(client, back, 4));
	CHECK(memcmp(back, "pong", 4) == 0);
	size = 4;
	GIVES(0, getpeername(client, (void *)back, &size));
	CHECK(size == sizeof(*peer) && ((struct sockaddr_in *)back)->sin_port == address.sin_port);
}

CASE(half_close_ends_one_direction_only)
{
	int pair[2];
	char *back = guarded(4);

	tcp_pair(pair);
	GIVES(2, write(pair[0], "ab", 2));
	GIVES(0, shutdown(pair[0], SHUT_WR));
	wait_readable(pair[1]);
	GIVES(2, recv(pair[1], back, 4, MSG_WAITALL));
	GIVES(0, read(pair[1], back, 4));
	GIVES(3, write(pair[1], "xyz", 3));
	GIVES(3, read(pair[0], back, 4));
	FAILS(EPIPE, send(pair[0], "x", 1, MSG_NOSIGNAL));
	GIVES(0, close(pair[1]));
	GIVES(0, read(pair[0], back, 4));
}

CASE(written_data_arrives_although_the_writer_closes_at_once)
{
	size_t size = 200000, have = 0;
	char *bytes = guarded(size);
	int pair[2];
	pid_t child;
	long got;

	memset(bytes, 'd', size);
	tcp_pair(pair);
	child = fork();
	if (child == 0) {
		close(pair[1]);
		for (size_t sent = 0; sent < size;)
			sent += (size_t)SYS(write(pair[0], bytes + sent, size - sent));
		_exit(0);
	}
	GIVES(0, close(pair[0]));
	GIVES(0, exit_status(child));
	while ((got = SYS(read(pair[1], bytes, size))) > 0)
		have += (size_t)got;
	CHECK(have == size);
}

CASE(linger_zero_resets_the_connection)
{
	struct linger linger = { 1, 0 };
	int pair[2];
	char byte;

	tcp_pair(pair);
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	GIVES(0, close(pair[0]));
	FAILS(ECONNRESET, read(pair[1], &byte, 1));
	GIVES(0, read(pair[1], &byte, 1));
}

/*
 * A TCP pair with little room, of which the server's side, non-blocking, is written full by a loop that crosses with each
 * write; bytes written.
 */
static long full_pair(int pair[2])
{
	static char bytes[8000];
	int epoll = (int)SYS(epoll_create1(0)), room = 8192, refusals = 0, server;
	struct epoll_event event = { .events = EPOLLIN };
	struct sockaddr_in address;
	long total = 0, size;

	server = listener(&address);
	pair[0] = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)));
	GIVES(0, connect(pair[0], (void *)&address, sizeof(address)));
	pair[1] = (int)SYS(accept4(server, NULL, NULL, SOCK_NONBLOCK));
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event));
	while (refusals < 4) {
		size = write(pair[1], bytes, sizeof(bytes));
		CHECK(size > 0 || errno == EAGAIN);
		total += size > 0 ? size : 0;
		refusals = size > 0 ? 0 : refusals + 1;
		(void)!epoll_wait(epoll, &event, 1, size > 0 ? 0 : 20);
	}
	GIVES(0, close(epoll));
	GIVES(0, close(server));
	return total;
}

static long drain(int fd)
{
	static char bytes[65536];
	long total = 0, size;

	while ((size = read(fd, bytes, sizeof(bytes))) > 0)
		total += size;
	CHECK(size == 0);
	return total;
}

/* What was accepted arrives, and neither close() nor dup2() waits for a peer that reads nothing. */
CASE(a_full_connection_is_closed_at_once_and_loses_nothing)
{
	int other = (int)SYS(open("/dev/null", O_WRONLY)), pair[2];
	long total;

	for (int way = 0; way < 3; way++) {
		total = full_pair(pair);
		if (way == 0)
			GIVES(0, close(pair[1]));
		if (way == 1)
			GIVES(pair[1], dup2(other, pair[1]));
		if (way == 2)
			GIVES(0, close_range((unsigned)pair[1], (unsigned)pair[1], 0));
		CHECK(drain(pair[0]) == total);
		GIVES(0, close(pair[0]));
		if (way == 1)
			GIVES(0, close(pair[1]));
	}
}

CASE(a_child_does_not_hold_a_full_connection_that_its_parent_closed)
{
	int gate[2], pair[2];
	long total;
	char byte;

	total = full_pair(pair);
	GIVES(0, pipe(gate));
	GIVES(0, close(pair[1]));
	if (SYS(fork()) == 0) {
		close(gate[1]);
		_exit((int)read(gate[0], &byte, 1));	/* lives until the parent has seen the end of file */
	}
	CHECK(drain(pair[0]) == total);
	GIVES(0, close(gate[1]));
	CHECK(wait(NULL) > 0);
}

CASE(a_full_connection_with_linger_zero_is_reset_at_once)
{
	struct linger linger = { 1, 0 };
	static char bytes[65536];
	int pair[2];
	long size;

	full_pair(pair);
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	GIVES(0, close(pair[1]));
	while ((size = read(pair[0], bytes, sizeof(bytes))) > 0)
		;
	CHECK(size == -1 && errno == ECONNRESET);
}

CASE(unread_data_at_close_resets_the_peer)
{
	int pair[2], error = 0;
	socklen_t size = sizeof(error);
	struct pollfd item;

	tcp_pair(pair);
	GIVES(5, write(pair[0], "never", 5));
	wait_readable(pair[1]);
	GIVES(0, close(pair[1]));
	item = (struct pollfd){ .fd = pair[0], .events = POLLIN };
	GIVES(1, poll(&item, 1, 5000));
	CHECK(item.revents & POLLHUP && item.revents & POLLERR);
	GIVES(0, getsockopt(pair[0], SOL_SOCKET, SO_ERROR, &error, &size));
	CHECK(error == ECONNRESET && size == sizeof(error));
}

CASE(peeking_and_fionread_do_not_consume)
{
	int pair[2], pending = 0;
	char *back = guarded(6);

	tcp_pair(pair);
	GIVES(6, write(pair[0], "abcdef", 6));
	wait_readable(pair[1]);
	GIVES(3, recv(pair[1], back, 3, MSG_PEEK));
	GIVES(6, recv(pair[1], back, 6, MSG_PEEK | MSG_DONTWAIT));
	GIVES(0, ioctl(pair[1], FIONREAD, &pending));
	CHECK(pending == 6);
	GIVES(2, recv(pair[1], back, 2, 0));
	GIVES(0, ioctl(pair[1], FIONREAD, &pending));
	CHECK(pending == 4);
	GIVES(4, recv(pair[1], back, 6, MSG_DONTWAIT));
	FAILS(EAGAIN, recv(pair[1], back, 6, MSG_DONTWAIT));
}

CASE(connecting_to_nobody_is_refused)
{
	struct sockaddr_in address;
	int fd = listener(&address);
	int error = 0;
	socklen_t size = sizeof(error);

	GIVES(0, close(fd));
	fd = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(ECONNREFUSED, connect(fd, (void *)&address, sizeof(address)));
	fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	if (connect(fd, (void *)&address, sizeof(address)) == -1 && errno == EINPROGRESS) {
		GIVES(1, poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 5000));
		GIVES(0, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
		CHECK(error == ECONNREFUSED);
	}
	FAILS(ENOTCONN, getpeername(fd, (void *)&address, &size));
	FAILS(ENOENT, connect((int)SYS(socket(AF_UNIX, SOCK_STREAM, 0)),
			      (void *)&(struct sockaddr_un){ AF_UNIX, "absent" }, sizeof(struct sockaddr_un)));
}

CASE(a_nonblocking_connect_completes_by_poll)
{
	struct sockaddr_in address;
	int server = listener(&address);
	int fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
	int error = -1;
	socklen_t size = sizeof(error);

	CHECK(connect(fd, (void *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
	GIVES(1, poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 5000));
	GIVES(0, getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	CHECK(error == 0);
	GIVES(0, connect(fd, (void *)&address, sizeof(address)));
	FAILS(EISCONN, connect(fd, (void *)&address, sizeof(address)));
	SYS(accept(server, NULL, NULL));
	GIVES(0, fcntl(server, F_SETFL, O_NONBLOCK));
	FAILS(EAGAIN, accept(server, NULL, NULL));
	FAILS(EINVAL, accept(fd, NULL, NULL));
}

CASE(a_nonblocking_stream_fills_and_drains)
{
	int pair[2];
	static char block[65536];
	long total = 0, got, drained = 0;
	struct pollfd item;

	tcp_pair(pair);
	GIVES(0, fcntl(pair[0], F_SETFL, O_NONBLOCK));
	while ((got = write(pair[0], block, sizeof(block))) > 0)
		total += got;
	CHECK(got == -1 && errno == EAGAIN && total > 0);
	item = (struct pollfd){ .fd = pair[0], .events = POLLOUT };
	GIVES(0, poll(&item, 1, 0));
	while (drained < total)
		drained += SYS(read(pair[1], block, sizeof(block)));
	CHECK(drained == total);
	item.revents = 0;
	GIVES(1, poll(&item, 1, 5000));
	CHECK(item.revents == POLLOUT);
}

CASE(a_receive_timeout_expires)
{
	struct timeval limit = { 0, 100000 };
	int pair[2];
	char byte;
	long start = now_ms();

	tcp_pair(pair);
	GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, guarded_copy(&limit, sizeof(limit)), sizeof(limit)));
	FAILS(EAGAIN, read(pair[0], &byte, 1));
	CHECK(now_ms() - start >= 95 && now_ms() - start < 3000);
}

CASE(datagrams_keep_boundaries_and_senders)
{
	struct sockaddr_in *from = guarded(sizeof(*from));
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int a = (int)SYS(socket(AF_INET, SOCK_DGRAM, 0));
	int b = (int)SYS(socket(AF_INET, SOCK_DGRAM, 0));
	char *back = guarded(3);

	GIVES(0, bind(a, (void *)&address, sizeof(address)));
	GIVES(0, getsockname(a, (void *)&address, &size));
	GIVES(5, sendto(b, "hello", 5, 0, (void *)guarded_copy(&address, size), size));
	GIVES(0, sendto(b, "", 0, 0, (void *)&address, size));
	GIVES(2, sendto(b, "yo", 2, 0, (void *)&address, size));
	wait_readable(a);
	GIVES(5, recvfrom(a, back, 3, MSG_TRUNC, (void *)from, &size));
	CHECK(memcmp(back, "hel", 3) == 0 && from->sin_family == AF_INET && from->sin_port != 0);
	GIVES(0, recvfrom(a, back, 3, 0, NULL, NULL));
	GIVES(2, recvfrom(a, back, 3, 0, NULL, NULL));
	FAILS(EAGAIN, recv(a, back, 3, MSG_DONTWAIT));
	FAILS(EDESTADDRREQ, send(b, "x", 1, 0));
	GIVES(0, connect(b, (void *)&address, size));
	GIVES(1, send(b, "x", 1, 0));
}

CASE(many_datagrams_pass_in_one_call)
{
	enum { COUNT = 8 };
	struct mmsghdr *out = guarded(COUNT * sizeof(*out)), *in = guarded(COUNT * sizeof(*in));
	struct iovec *out_parts = guarded(COUNT * sizeof(*out_parts)), *in_parts = guarded(COUNT * sizeof(*in_parts));
	char *back = guarded(COUNT * 4);
	int pair[2];

	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	memset(out, 0, COUNT * sizeof(*out));
	memset(in, 0, COUNT * sizeof(*in));
	for (int i = 0; i < COUNT; i++) {
		out_parts[i] = (struct iovec){ guarded_copy("abcd", 4), (size_t)(i % 4 + 1) };
		in_parts[i] = (struct iovec){ back + 4 * i, 4 };
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &out_parts[i], .msg_iovlen = 1 };
		in[i].msg_hdr = (struct msghdr){ .msg_iov = &in_parts[i], .msg_iovlen = 1 };
	}
	GIVES(COUNT - 1, sendmmsg(pair[0], out, COUNT - 1, 0));
	GIVES(COUNT - 1, recvmmsg(pair[1], in, COUNT, MSG_DONTWAIT, NULL));
	for (int i = 0; i < COUNT - 1; i++) {
		CHECK(out[i].msg_len == (unsigned)(i % 4 + 1) && in[i].msg_len == out[i].msg_len);
		CHECK(memcmp(back + 4 * i, "abcd", in[i].msg_len) == 0);
	}
	FAILS(EAGAIN, recvmmsg(pair[1], in, COUNT, MSG_DONTWAIT, NULL));
	GIVES(COUNT, sendmmsg(pair[0], out, COUNT, 0));
	GIVES(COUNT, recvmmsg(pair[1], in, COUNT, 0, &(struct timespec){ 1, 0 }));
}

CASE(cut_datagrams_among_many_tell_their_whole_sizes)
{
	struct mmsghdr *in = guarded(4 * sizeof(*in));
	struct timespec *time = guarded_copy(&(struct timespec){ 9, 999999999 }, sizeof(*time));
	struct iovec *parts = guarded(3 * sizeof(*parts));
	char *back = guarded(6);
	int pair[2];

	memset(in, 0, 4 * sizeof(*in));
	for (int i = 0; i < 3; i++) {
		parts[i] = (struct iovec){ back + 2 * i, 2 };
		in[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
	}
	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	GIVES(5, send(pair[0], "hello", 5, 0));
	GIVES(1, send(pair[0], "x", 1, 0));
	SYS(recvmmsg(pair[1], in, 4, MSG_TRUNC | MSG_PEEK | MSG_WAITFORONE, NULL));
	GIVES(2, recvmmsg(pair[1], in, 4, MSG_TRUNC | MSG_WAITFORONE, time));
	CHECK(in[0].msg_len == 5 && in[0].msg_hdr.msg_flags & MSG_TRUNC && in[1].msg_len == 1);
	CHECK(memcmp(back, "hex", 3) == 0);
	CHECK(time->tv_sec == 9 && time->tv_nsec < 999999999);
	GIVES(3, send(pair[0], "cut", 3, 0));
	GIVES(1, recvmmsg(pair[1], in, 1, 0, time));
	CHECK(in[0].msg_len == 2 && in[0].msg_hdr.msg_flags & MSG_TRUNC);
	FAILS(EAGAIN, recvmmsg(pair[1], in, 1u << 31, MSG_DONTWAIT, NULL));
}

CASE(options_are_set_and_read_with_their_sizes)
{
	int fd = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	int *value = guarded_copy(&(int){ 1 }, sizeof(int));
	socklen_t *size = guarded_copy(&(socklen_t){ 4 }, sizeof(socklen_t));

	GIVES(0, setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, value, 4));
	GIVES(0, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, value, 4));
	*value = 0;
	GIVES(0, getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, value, size));
	CHECK(*value == 1 && *size == 4);
	GIVES(0, getsockopt(fd, SOL_SOCKET, SO_TYPE, value, size));
	CHECK(*value == SOCK_STREAM);
	*size = 1;
	GIVES(0, getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, size));
	CHECK(*size == 1);
	*size = 4;
	FAILS(ENOPROTOOPT, getsockopt(fd, SOL_SOCKET, 9999, value, size));
	FAILS(EINVAL, setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, 1));
}

CASE(ipv6_loopback_works_as_ipv4)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	socklen_t size = sizeof(address);
	int server = socket(AF_INET6, SOCK_STREAM, 0), client;

	if (server < 0 || bind(server, (void *)&address, size) != 0)
		skip("no IPv6 loopback here");
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	client = (int)SYS(socket(AF_INET6, SOCK_STREAM, 0));
	GIVES(0, connect(client, (void *)&address, size));
	SYS(accept(server, (void *)&address, &size));
	CHECK(size == sizeof(address));
}

CASE(a_blocked_accept_returns_when_a_child_connects)
{
	struct sockaddr_in address;
	int server = listener(&address);
	char *back = guarded(2);
	pid_t child = fork();
	int side;

	if (child == 0) {
		int fd = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));

		sleep_ms(50);
		SYS(connect(fd, (void *)&address, sizeof(address)));
		_exit(write(fd, "hi", 2) != 2);
	}
	side = (int)SYS(accept(server, NULL, NULL));
	GIVES(2, recv(side, back, 2, MSG_WAITALL));
	GIVES(0, exit_status(child));
}
