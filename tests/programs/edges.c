/*
 * edges.c - edge-triggered readers of TCP streams, as event-driven servers are written.
 *
 * Owns: the cases where data is in the kernel, or read ahead of the program, when the program waits for the next edge.
 * Must never: wait for an edge that natively may not come. Run by: test_programs.py, native and wrapped.
 */
#include "guard.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { TOTAL = 4 << 20, SENT = 60000 };

static void tcp_pair(int pair[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int server = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));

	GIVES(0, bind(server, (void *)&address, size));
	GIVES(0, listen(server, 1));
	GIVES(0, getsockname(server, (void *)&address, &size));
	pair[0] = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	GIVES(0, connect(pair[0], (void *)&address, size));
	pair[1] = (int)SYS(accept(server, NULL, NULL));
	GIVES(0, close(server));
	GIVES(0, fcntl(pair[1], F_SETFL, O_NONBLOCK));
}

static unsigned char byte_at(size_t at)
{
	return (unsigned char)(at * 2654435761u >> 13);
}

static pid_t sender(int fd, int other)
{
	static unsigned char block[65536];
	pid_t child = fork();

	if (child != 0)
		return child;
	close(other);
	for (size_t at = 0; at < TOTAL; at += sizeof(block)) {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = byte_at(at + i);
		for (size_t done = 0; done < sizeof(block);)
			done += (size_t)SYS(write(fd, block + done, sizeof(block) - done));
	}
	_exit(0);
}

static int watched(int fd, uint32_t events)
{
	int epoll = (int)SYS(epoll_create1(0));

	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = events, .data.fd = fd }));
	return epoll;
}

/* Reads up to `most` and checks the bytes; 0 at the end, -1 for EAGAIN. */
static long take(int fd, size_t at, size_t most)
{
	static unsigned char block[1 << 20];
	long got = read(fd, block, most < sizeof(block) ? most : sizeof(block));

	CHECK(got >= 0 || errno == EAGAIN);
	for (long i = 0; i < got; i++)
		CHECK(block[i] == byte_at(at + (size_t)i));
	return got;
}

/* As nginx reads: what FIONREAD told at the event, no more, then it waits for the next edge. */
CASE(a_reader_who_trusts_fionread_gets_everything_by_edges)
{
	struct epoll_event event;
	int pair[2], epoll, pending;
	size_t at = 0;
	pid_t child;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	child = sender(pair[0], pair[1]);
	GIVES(0, close(pair[0]));
	while (at < TOTAL) {
		GIVES(1, epoll_wait(epoll, &event, 1, 5000));
		GIVES(0, ioctl(pair[1], FIONREAD, &pending));
		while (pending > 0) {
			long got = take(pair[1], at, (size_t)pending < 5000 ? (size_t)pending : 5000);

			CHECK(got > 0);
			at += (size_t)got;
			pending -= (int)got;
		}
	}
	GIVES(0, exit_status(child));
	GIVES(0, take(pair[1], at, 1));
}

CASE(a_reader_until_eagain_gets_everything_by_edges)
{
	struct epoll_event event;
	int pair[2], epoll;
	size_t at = 0;
	pid_t child;
	long got;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN | EPOLLRDHUP | EPOLLET);
	child = sender(pair[0], pair[1]);
	GIVES(0, close(pair[0]));
	while (at < TOTAL) {
		GIVES(1, epoll_wait(epoll, &event, 1, 5000));
		while ((got = take(pair[1], at, 16384)) > 0)
			at += (size_t)got;
	}
	GIVES(0, exit_status(child));
}

/* A short read tells an edge-triggered reader that there is no more; the next byte must then make an edge. */
CASE(a_reader_who_stops_at_a_short_read_gets_everything_by_edges)
{
	struct epoll_event event;
	int pair[2], epoll;
	size_t at = 0;
	pid_t child;
	long got;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN | EPOLLET);
	child = sender(pair[0], pair[1]);
	GIVES(0, close(pair[0]));
	while (at < TOTAL) {
		GIVES(1, epoll_wait(epoll, &event, 1, 5000));
		do {
			got = take(pair[1], at, 1 << 20);
			at += got > 0 ? (size_t)got : 0;
		} while (got == 1 << 20);
	}
	GIVES(0, exit_status(child));
}

static void send_all(int fd)
{
	static unsigned char block[SENT];

	for (size_t i = 0; i < SENT; i++)
		block[i] = byte_at(i);
	GIVES(SENT, write(fd, block, SENT));
}

CASE(fionread_counts_all_that_arrived)
{
	struct epoll_event event;
	int pair[2], epoll, pending = 0;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN);
	send_all(pair[0]);
	for (int i = 0; i < 500 && pending < SENT; i++) {
		GIVES(1, epoll_wait(epoll, &event, 1, 2000));
		GIVES(0, ioctl(pair[1], FIONREAD, &pending));
		sleep_ms(2);
	}
	CHECK(pending == SENT);
	GIVES(1000, take(pair[1], 0, 1000));
	GIVES(0, ioctl(pair[1], FIONREAD, &pending));
	CHECK(pending == SENT - 1000);
}

/* One large read takes all that the kernel has, not only a part that was read ahead. */
CASE(one_read_takes_all_that_arrived)
{
	struct epoll_event event;
	int pair[2], epoll, pending = 0;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN | EPOLLET);
	send_all(pair[0]);
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	for (int i = 0; i < 500 && pending < SENT; i++) {
		GIVES(0, ioctl(pair[1], FIONREAD, &pending));
		sleep_ms(2);
	}
	GIVES(SENT, take(pair[1], 0, 1 << 20));
	GIVES(-1, take(pair[1], SENT, 1));
}

/* P6: a peek, MSG_WAITALL and a vectored read see one stream, whoever read ahead. */
CASE(every_kind_of_read_sees_the_same_stream)
{
	struct epoll_event event;
	static char block[SENT];
	int pair[2], epoll;

	tcp_pair(pair);
	epoll = watched(pair[1], EPOLLIN);
	send_all(pair[0]);
	GIVES(1, epoll_wait(epoll, &event, 1, 2000));
	GIVES(100, recv(pair[1], block, 100, MSG_PEEK));
	GIVES(100, recv(pair[1], block, 100, 0));
	CHECK((unsigned char)block[99] == byte_at(99));
	GIVES(0, fcntl(pair[1], F_SETFL, 0));
	GIVES(40000, recv(pair[1], block, 40000, MSG_WAITALL));
	CHECK((unsigned char)block[0] == byte_at(100) && (unsigned char)block[39999] == byte_at(40099));
	GIVES(SENT - 40100, recv(pair[1], block, SENT - 40100, MSG_WAITALL | MSG_PEEK));
	GIVES(SENT - 40100, recv(pair[1], block, SENT, 0));
	CHECK((unsigned char)block[SENT - 40101] == byte_at(SENT - 1));
}

/* Reads with five buffers of 4 KiB until a read is short, then waits for an edge; writes a little between, as a proxy. */
static size_t relay(int epoll, int from, int to, size_t total)
{
	static char blocks[5][4096], drain[65536];
	struct iovec parts[5];
	struct epoll_event event;
	size_t at = 0;
	long got;

	for (int i = 0; i < 5; i++)
		parts[i] = (struct iovec){ blocks[i], sizeof(blocks[i]) };
	while (at < total) {
		if (epoll_wait(epoll, &event, 1, 3000) != 1)
			return at;
		do {
			got = readv(from, parts, 5);
			CHECK(got > 0 || errno == EAGAIN);
			at += got > 0 ? (size_t)got : 0;
			if (got > 0)
				GIVES(got, write(to, drain, (size_t)got));
		} while (got == sizeof(blocks));
	}
	return at;
}

static void *drain_all(void *argument)
{
	static char block[65536];

	while (read(*(int *)argument, block, sizeof(block)) > 0)
		;
	return NULL;
}

/* The rest of the data comes while the program still reads the first part, and nothing after it makes an edge. */
CASE(a_proxy_gets_what_arrived_while_it_was_reading)
{
	static char block[65536];
	int upstream[2], downstream[2], epoll;
	size_t total = 205;
	pthread_t thread;
	pid_t child;

	tcp_pair(upstream);
	tcp_pair(downstream);
	GIVES(0, fcntl(downstream[1], F_SETFL, 0));
	GIVES(0, pthread_create(&thread, NULL, drain_all, &downstream[1]));
	epoll = watched(upstream[1], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	child = fork();
	if (child == 0) {
		GIVES(205, write(upstream[0], block, 205));
		for (int i = 0; i < 8; i++)
			GIVES(sizeof(block), write(upstream[0], block, sizeof(block)));
		_exit(0);
	}
	total += 8 * sizeof(block);
	GIVES(total, relay(epoll, upstream[1], downstream[0], total));
	GIVES(0, exit_status(child));
	GIVES(0, shutdown(downstream[0], SHUT_WR));
	GIVES(0, pthread_join(thread, NULL));
}
