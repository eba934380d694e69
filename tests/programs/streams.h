/*
 * streams.h - TCP connections with little room, and event loops whose turns cross the ring.
 *
 * Owns: the stream of numbered bytes that tells when one overtakes another, connections, the loop. Must never: know whether
 * the program is wrapped: the loop only does what makes the ring worth its while. Used by: stream_order.c, read_ahead.c.
 */
#ifndef STREAMS_H
#define STREAMS_H

#include "guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Byte `at` of the stream: neighbours differ, also those that are a power of two apart. */
static inline char numbered(uint64_t at)
{
	return (char)(at * 2654435761u >> 24 ^ at);
}

__attribute__((unused)) static void number_bytes(char *bytes, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = numbered(at + i);
}

__attribute__((unused)) static void check_numbers(const char *bytes, uint64_t at, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != numbered(at + i))
			fail(__FILE__, __LINE__, "the stream's bytes come in order, from", (long)(at + i), 0);
}

/* A socket that listens on a port of the kernel's choice, which `address` then says. */
__attribute__((unused)) static int listener(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));

	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	GIVES(0, bind(server, (void *)address, size));
	GIVES(0, listen(server, 8));
	GIVES(0, getsockname(server, (void *)address, &size));
	return server;
}

/* A connected pair: pair[0] the client, pair[1] the server's, made with `flags` of accept4; `room` bytes of buffer each. */
__attribute__((unused)) static void stream_pair(int pair[2], int flags, int room)
{
	struct sockaddr_in address;
	int server = listener(&address);

	pair[0] = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	if (room)
		GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)));
	GIVES(0, connect(pair[0], (void *)&address, sizeof(address)));
	pair[1] = (int)SYS(accept4(server, NULL, NULL, flags));
	if (room)
		GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)));
	GIVES(0, close(server));
}

/* Ends the connection of `fd`, which may have another after that; the kernel forgets what waits in either direction. */
__attribute__((unused)) static int dissolve(int fd)
{
	return connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr));
}

/* The peer of a new connection that `fd` makes. */
__attribute__((unused)) static int connect_anew(int fd)
{
	struct sockaddr_in address;
	int server = listener(&address), peer;

	CHECK(connect(fd, (void *)&address, sizeof(address)) == 0 || errno == EINPROGRESS);
	peer = (int)SYS(accept(server, NULL, NULL));
	GIVES(0, close(server));
	return peer;
}

/*
 * From here on the calling thread's waits bring enough that a wrapped program's turns are tried by the ring. Waits that
 * bring nothing don't count, so a test may make any number of those, and some hundred others.
 */
__attribute__((unused)) static void loop_warm(void)
{
	enum { READY = 8, TURNS = 136 };
	struct epoll_event events[READY] = { { .events = EPOLLIN } };
	int epoll = (int)SYS(epoll_create1(0)), fds[READY];

	for (int i = 0; i < READY; i++) {
		fds[i] = (int)SYS(eventfd(1, 0));
		GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &events[0]));
	}
	for (int i = 0; i < TURNS; i++)
		GIVES(READY, epoll_wait(epoll, events, READY, 0));
	for (int i = 0; i < READY; i++)
		GIVES(0, close(fds[i]));
	GIVES(0, close(epoll));
}

/* An epoll that watches `fd` for data. */
__attribute__((unused)) static int loop_of(int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
	int epoll = (int)SYS(epoll_create1(0));

	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
	return epoll;
}

/* One turn that brings nothing. */
__attribute__((unused)) static void turn(int epoll, int wait_ms)
{
	struct epoll_event event;

	GIVES(0, epoll_wait(epoll, &event, 1, wait_ms));
}

#endif
