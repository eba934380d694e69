/*
 * stream_order.c - what leaves by a TCP connection arrives in order, whichever calls send it and however full it is.
 *
 * Owns: the cases for every call that puts bytes into a stream whose peer is slow. Must never: count on how much a socket
 * takes. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "stream_ways.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/time.h>

enum { ROOM = 8192, PIECE = PIECE_MAX, WRITES = 60 };

/* Reads what is there, at most `most`; the new number of bytes. */
static uint64_t read_on(int fd, uint64_t got, size_t most)
{
	static char bytes[65536];
	long size = recv(fd, bytes, most < sizeof(bytes) ? most : sizeof(bytes), MSG_DONTWAIT);

	CHECK(size > 0 || errno == EAGAIN);
	if (size <= 0)
		return got;
	check_numbers(bytes, got, (size_t)size);
	return got + (uint64_t)size;
}

static void read_rest(int fd, uint64_t got, uint64_t sent)
{
	while (got < sent) {
		GIVES(1, poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 5000));
		got = read_on(fd, got, 65536);
	}
	CHECK(got == sent);
	FAILS(EAGAIN, recv(fd, &(char){ 0 }, 1, MSG_DONTWAIT));
}

/* A non-blocking server writes, and sends by `other`, in turns; its peer takes a little whenever nothing more goes in. */
static void *alternate(void *argument)
{
	send_way ways[2] = { by_write, *(send_way *)argument };
	uint64_t sent = 0, got = 0, tries = 0;
	int pair[2], epoll;
	char bytes[PIECE];

	loop_warm();
	stream_pair(pair, SOCK_NONBLOCK, ROOM);
	epoll = loop_of(pair[1]);
	for (int writes = 0; writes < WRITES && sent + 65536 < STREAM && tries < 2000; tries++) {
		long size;

		number_bytes(bytes, sent, sizeof(bytes));
		size = ways[tries % 2](pair[1], bytes, sizeof(bytes), sent);
		CHECK(size > 0 || errno == EAGAIN);
		sent += size > 0 ? (uint64_t)size : 0;
		writes += tries % 2 == 0 && size > 0;
		if (tries % 3 == 0 || size < 0)
			turn(epoll, 0);
		if (size < 0 || tries % 5 == 0)
			got = read_on(pair[0], got, size < 0 ? 5000 : 700);
	}
	CHECK(sent > 100000);
	read_rest(pair[0], got, sent);
	GIVES(0, close(pair[0]));
	GIVES(0, close(pair[1]));
	GIVES(0, close(epoll));
	return NULL;
}

static void alternates_with(send_way other)
{
	for (int round = 0; round < 8; round++) {
		pthread_t thread;	/* a new one begins with its loop untried */

		GIVES(0, pthread_create(&thread, NULL, alternate, &other));
		GIVES(0, pthread_join(thread, NULL));
	}
}

CASE(sendfile_does_not_overtake_what_was_written) { alternates_with(by_sendfile); }
CASE(splice_does_not_overtake_what_was_written) { alternates_with(by_splice); }
CASE(sendmmsg_does_not_overtake_what_was_written) { alternates_with(by_sendmmsg); }
CASE(a_message_with_control_data_does_not_overtake_what_was_written) { alternates_with(by_sendmsg_with_control); }
CASE(a_send_with_an_address_does_not_overtake_what_was_written) { alternates_with(by_sendto_with_address); }
CASE(a_send_with_a_rare_flag_does_not_overtake_what_was_written) { alternates_with(by_send_with_a_rare_flag); }
CASE(a_write_at_no_position_does_not_overtake_what_was_written) { alternates_with(by_pwritev2); }
CASE(a_large_write_neither_overtakes_nor_blocks) { alternates_with(by_a_large_write); }

/* Writes to the servers' sides of non-blocking pairs until none takes more, also after `patience` times 60 ms. */
static void fill(int pairs[][2], uint64_t *sent, int count, int epoll, int patience)
{
	char bytes[PIECE];

	for (int quiet = 0; quiet < patience; quiet++) {
		for (int i = 0; i < count; i++) {
			long size;

			number_bytes(bytes, sent[i], sizeof(bytes));
			while ((size = write(pairs[i][1], bytes, sizeof(bytes))) > 0) {
				sent[i] += (uint64_t)size;
				number_bytes(bytes, sent[i], sizeof(bytes));
				turn(epoll, 0);
				quiet = 0;
			}
			CHECK(errno == EAGAIN);
		}
		turn(epoll, 60);
	}
}

/* A pair whose server's side takes no more; bytes written. 15: the kernel probes a full peer each 200 ms at first. */
static uint64_t full_pair(int pair[2], int *epoll, int patience)
{
	uint64_t sent = 0;

	stream_pair(pair, SOCK_NONBLOCK, ROOM);
	*epoll = loop_of(pair[1]);
	fill((int(*)[2])pair, &sent, 1, *epoll, patience);
	return sent;
}

CASE(the_size_of_the_send_queue_counts_all_that_was_accepted)
{
	int pair[2], epoll, unsent = -1, unread = -1;
	uint64_t sent;

	loop_warm();
	sent = full_pair(pair, &epoll, 15);
	GIVES(0, ioctl(pair[1], SIOCOUTQ, &unsent));
	GIVES(0, ioctl(pair[0], FIONREAD, &unread));
	CHECK((uint64_t)unsent + (uint64_t)unread >= sent);
	read_rest(pair[0], 0, sent);
	for (int i = 0; i < 500 && unsent; i++, sleep_ms(10))
		GIVES(0, ioctl(pair[1], SIOCOUTQ, &unsent));
	CHECK(unsent == 0);
}

/* Nothing of a full connection is lost when its server shuts it down, which doesn't wait for the peer. */
CASE(a_full_connection_is_shut_down_at_once_and_loses_nothing)
{
	static char bytes[65536];
	int pair[2], epoll;
	uint64_t sent, got;
	long size;

	loop_warm();
	for (int round = 0; round < 3; round++) {
		sent = full_pair(pair, &epoll, 15);
		got = 0;
		GIVES(0, shutdown(pair[1], round == 1 ? SHUT_RDWR : SHUT_WR));
		FAILS(EPIPE, send(pair[1], "x", 1, MSG_NOSIGNAL));
		if (round == 1)
			GIVES(0, recv(pair[1], bytes, 1, 0));
		else
			FAILS(EAGAIN, recv(pair[1], bytes, 1, 0));
		if (round == 2)
			GIVES(0, close(pair[1]));
		while ((size = SYS(read(pair[0], bytes, sizeof(bytes)))) > 0) {
			check_numbers(bytes, got, (size_t)size);
			got += (uint64_t)size;
		}
		CHECK(got == sent);
		if (round == 0) {
			FAILS(EPIPE, send(pair[1], "x", 1, MSG_NOSIGNAL));
			GIVES(5, write(pair[0], "reply", 5));
			GIVES(1, poll(&(struct pollfd){ .fd = pair[1], .events = POLLIN }, 1, 5000));
			GIVES(5, recv(pair[1], bytes, 9, 0));
		}
		if (round < 2)
			GIVES(0, close(pair[1]));
		GIVES(0, close(pair[0]));
		GIVES(0, close(epoll));
	}
}

/* Writes numbers from 0 on until `size` are taken or nothing more is; how many. */
static uint64_t write_anew(int fd, uint64_t size)
{
	char bytes[PIECE];
	uint64_t sent = 0;

	while (sent < size) {
		long taken;

		number_bytes(bytes, sent, sizeof(bytes));
		taken = write(fd, bytes, sizeof(bytes));
		CHECK(taken > 0 || errno == EAGAIN);
		if (taken < 0)
			return sent;
		sent += (uint64_t)taken;
	}
	return sent;
}

/* What waits for one peer is not for the next. */
CASE(what_waits_for_a_peer_is_gone_when_its_connection_is_dissolved)
{
	static char bytes[65536];
	int pair[2], epoll, peer;
	uint64_t sent, got;
	long size;

	loop_warm();
	for (int round = 0; round < 4; round++) {
		sent = full_pair(pair, &epoll, 15);
		FAILS(EISCONN, connect(pair[1], (void *)&(struct sockaddr_in){ .sin_family = AF_INET }, sizeof(struct sockaddr_in)));
		if (round & 1)
			GIVES(0, shutdown(pair[1], SHUT_WR));
		GIVES(0, dissolve(pair[1]));
		if (round & 2) {
			FAILS(ECONNRESET, send(pair[1], "x", 1, MSG_NOSIGNAL));
			FAILS(EPIPE, send(pair[1], "x", 1, MSG_NOSIGNAL));
			FAILS(ENOTCONN, recv(pair[1], bytes, 1, 0));
		}
		peer = connect_anew(pair[1]);
		sent = write_anew(pair[1], 20000);
		turn(epoll, 0);
		read_rest(peer, 0, sent);
		for (got = 0; (size = recv(pair[0], bytes, sizeof(bytes), 0)) > 0; got += (uint64_t)size)
			check_numbers(bytes, got, (size_t)size);
		CHECK(size == -1 && errno == ECONNRESET);
		sleep_ms(20);
		FAILS(EAGAIN, recv(peer, bytes, 1, MSG_DONTWAIT));
		GIVES(0, close(pair[0]) + close(pair[1]) + close(peer) + close(epoll));
	}
}

/* Peers that take nothing are no reason to let others wait. */
CASE(many_slow_readers_do_not_hold_up_a_quick_one)
{
	enum { SLOW = 90 };
	int pairs[SLOW][2], quick[2], epoll;
	uint64_t sent[SLOW] = { 0 };
	char byte;

	loop_warm();
	stream_pair(quick, SOCK_NONBLOCK, 0);
	epoll = loop_of(quick[1]);
	for (int i = 0; i < SLOW; i += SLOW / 15) {
		for (int j = i; j < i + SLOW / 15; j++)
			stream_pair(pairs[j], SOCK_NONBLOCK, ROOM);
		fill(pairs + i, sent + i, SLOW / 15, epoll, 4);
		GIVES(1, write(quick[1], "q", 1));
		turn(epoll, 0);
		GIVES(1, poll(&(struct pollfd){ .fd = quick[0], .events = POLLIN }, 1, 5000));
		GIVES(1, read(quick[0], &byte, 1));
	}
	for (int i = 0; i < SLOW; i++) {
		read_rest(pairs[i][0], 0, sent[i]);
		GIVES(0, close(pairs[i][0]));
		GIVES(0, close(pairs[i][1]));
	}
}

static void on_signal(int signal)
{
	(void)signal;
}

struct reader {
	int fd;
	uint64_t got;
};

/* Takes everything slowly, until the end. */
static void *read_slowly(void *argument)
{
	struct reader *own = argument;
	char bytes[2000];
	long size;

	while ((size = SYS(read(own->fd, bytes, sizeof(bytes)))) > 0) {
		check_numbers(bytes, own->got, (size_t)size);
		own->got += (uint64_t)size;
		if (own->got % 5 == 0)
			sleep_ms(1);
	}
	return NULL;
}

CASE(a_blocking_server_waits_for_its_peer_in_every_call)
{
	send_way ways[] = { by_sendfile, by_splice, by_sendmmsg, by_sendmsg_with_control, by_pwritev2, by_a_large_write };
	int pair[2], epoll, count = sizeof(ways) / sizeof(*ways);
	struct reader reader = { 0 };
	uint64_t sent = 0;
	pthread_t thread;
	char bytes[PIECE];

	loop_warm();
	stream_pair(pair, 0, ROOM);
	epoll = loop_of(pair[1]);
	reader.fd = pair[0];
	GIVES(0, pthread_create(&thread, NULL, read_slowly, &reader));
	for (int i = 0; i < 50; i++) {
		for (int j = 0; j < 2; j++) {
			number_bytes(bytes, sent, sizeof(bytes));
			sent += (uint64_t)SYS((j ? ways[i % count] : by_write)(pair[1], bytes, sizeof(bytes), sent));
		}
		turn(epoll, 0);
	}
	GIVES(0, shutdown(pair[1], SHUT_WR));
	GIVES(0, pthread_join(thread, NULL));
	CHECK(reader.got == sent);
}

/* Fills a blocking connection by a loop, without ever waiting, until no call gets anything in. */
static void fill_blocking(int pair[2])
{
	send_way ways[] = { by_write, by_sendfile, by_sendmmsg };
	char bytes[PIECE];
	int epoll, flags;

	loop_warm();
	full_pair(pair, &epoll, 15);
	for (int refusals = 0, i = 0; refusals < 6; i++) {
		refusals = ways[i % 3](pair[1], bytes, sizeof(bytes), 0) > 0 ? 0 : refusals + 1;
		turn(epoll, refusals ? 60 : 0);
	}
	flags = (int)SYS(fcntl(pair[1], F_GETFL));
	GIVES(0, fcntl(pair[1], F_SETFL, flags & ~O_NONBLOCK));
}

CASE(a_signal_ends_the_wait_for_a_full_peer)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct timeval every = { 0, 200000 };
	int pair[2];
	char bytes[PIECE];

	fill_blocking(pair);
	GIVES(0, sigaction(SIGALRM, &action, NULL));
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ every, every }, NULL));
	FAILS(EINTR, by_sendfile(pair[1], bytes, sizeof(bytes), 0));
	FAILS(EINTR, by_sendmmsg(pair[1], bytes, sizeof(bytes), 0));
	FAILS(EINTR, by_write(pair[1], bytes, sizeof(bytes), 0));
}

CASE(a_send_timeout_ends_the_wait_for_a_full_peer)
{
	struct timeval limit = { 0, 100000 };
	int pair[2];
	char bytes[PIECE];

	fill_blocking(pair);
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)));
	FAILS(EAGAIN, by_sendfile(pair[1], bytes, sizeof(bytes), 0));
	FAILS(EAGAIN, by_sendmmsg(pair[1], bytes, sizeof(bytes), 0));
	FAILS(EAGAIN, by_write(pair[1], bytes, sizeof(bytes), 0));
}

static int full_peer;
static volatile int is_taken;

static void take_all(int signal)
{
	static char bytes[65536];
	struct pollfd polled = { .fd = full_peer, .events = POLLIN };

	(void)signal;
	while (poll(&polled, 1, 500) == 1 && read(full_peer, bytes, sizeof(bytes)) > 0)
		;
	is_taken = 1;
}

/* Calls that don't wait natively, and have to when the helper has something to send: a handler still runs. */
static void is_held_up(void (*act)(int fd))
{
	struct sigaction action = { .sa_handler = take_all };
	int pair[2];

	fill_blocking(pair);
	full_peer = pair[0];
	GIVES(0, sigaction(SIGALRM, &action, NULL));
	GIVES(0, setitimer(ITIMER_REAL, &(struct itimerval){ .it_value = { 0, 200000 } }, NULL));
	act(pair[1]);
	while (!is_taken)
		sleep_ms(10);
}

static void limit_set(int fd)
{
	struct rlimit limit;

	(void)fd;
	GIVES(0, getrlimit(RLIMIT_CORE, &limit));
	GIVES(0, setrlimit(RLIMIT_CORE, &limit));
}

static void duplicate(int fd)
{
	GIVES(0, close((int)SYS(dup(fd))));
}

static void encrypt(int fd)
{
	CHECK(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) == 0 || errno == ENOENT);
}

static void give_away(int fd)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(4)]; } control = { .header = { CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec part = { "x", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int way_fds[2];

	memcpy(CMSG_DATA(&control.header), &fd, 4);
	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, way_fds));
	GIVES(1, sendmsg(way_fds[0], &message, 0));
}

CASE(a_signal_is_handled_while_a_full_peer_holds_up_a_limit) { is_held_up(limit_set); }
CASE(a_signal_is_handled_while_a_full_peer_holds_up_a_duplicate) { is_held_up(duplicate); }
CASE(a_signal_is_handled_while_a_full_peer_holds_up_a_change_to_tls) { is_held_up(encrypt); }
CASE(a_signal_is_handled_while_a_full_peer_holds_up_a_gift) { is_held_up(give_away); }

static void *take_all_late(void *argument)
{
	GIVES(0, poll(&(struct pollfd){ .fd = *(int *)argument, .events = POLLIN }, 1, 1800));
	take_all(0);
	return NULL;
}

CASE(a_full_peer_that_is_another_thread_does_not_hold_up_a_limit_for_ever)
{
	struct rlimit limit;
	int pair[2], quiet[2];
	pthread_t thread;

	GIVES(0, pipe(quiet));
	GIVES(0, pthread_create(&thread, NULL, take_all_late, &quiet[0]));
	fill_blocking(pair);
	full_peer = pair[0];
	GIVES(0, getrlimit(RLIMIT_CORE, &limit));
	GIVES(0, setrlimit(RLIMIT_CORE, &limit));
	GIVES(0, pthread_join(thread, NULL));
}

CASE(a_lost_peer_is_told_of_by_every_call)
{
	send_way ways[] = { by_sendfile, by_splice, by_sendmmsg, by_sendmsg_with_control, by_pwritev2, by_a_large_write };
	struct linger linger = { 1, 0 };
	char bytes[PIECE];
	int pair[2], epoll;

	loop_warm();
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		full_pair(pair, &epoll, 4);
		GIVES(0, setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
		GIVES(0, close(pair[0]));
		sleep_ms(20);
		errno = 0;
		CHECK(ways[i](pair[1], bytes, sizeof(bytes), 0) == -1 && (errno == ECONNRESET || errno == EPIPE));
		GIVES(0, close(epoll));
		GIVES(0, close(pair[1]));
	}
}
