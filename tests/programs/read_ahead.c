/*
 * read_ahead.c - what arrives by a TCP connection is read in order, whichever calls read it, also when an event loop knew
 * of it before.
 *
 * Owns: the cases for every call that takes bytes out of a stream which a loop has reported ready. Must never: read what
 * it wants to find unread. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "stream_ways.h"

#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/un.h>

enum { MANY = 8, HALF = 1000, WHOLE = 2 * HALF };

/* Connections that a loop watches, and the program has read from before. */
struct watched {
	int pairs[MANY][2];
	int epoll;
};

static void wait_all(const struct watched *own)
{
	struct epoll_event events[MANY];
	int count = 0;

	for (int tries = 0; count < MANY && tries < 500; tries++, sleep_ms(count < MANY ? 2 : 0))
		count = (int)SYS(epoll_wait(own->epoll, events, MANY, 1000));
	CHECK(count == MANY);
}

static void send_numbers(int fd, uint64_t at, size_t size)
{
	char bytes[WHOLE];

	number_bytes(bytes, at, size);
	GIVES(size, send(fd, bytes, size, 0));
}

/* The first HALF bytes of each stream have been reported by a loop; the second came after. None is read. */
static void ready_pairs(struct watched *own, int flags, bool with_second)
{
	char byte;

	loop_warm();
	own->epoll = (int)SYS(epoll_create1(0));
	for (int i = 0; i < MANY; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.fd = i };

		stream_pair(own->pairs[i], flags, 0);
		GIVES(0, epoll_ctl(own->epoll, EPOLL_CTL_ADD, own->pairs[i][1], &event));
		GIVES(1, send(own->pairs[i][0], "x", 1, 0));
	}
	wait_all(own);
	for (int i = 0; i < MANY; i++)
		GIVES(1, recv(own->pairs[i][1], &byte, 1, 0));
	for (int i = 0; i < MANY; i++)
		send_numbers(own->pairs[i][0], 0, HALF);
	wait_all(own);
	for (int i = 0; with_second && i < MANY; i++)
		send_numbers(own->pairs[i][0], HALF, HALF);
	sleep_ms(20);
}

/* By another number, which is closed again. */
static long by_duplicate(int fd, char *bytes, size_t size)
{
	int other = (int)SYS(dup(fd)), code;
	long result = read(other, bytes, size);

	code = errno;
	GIVES(0, close(other));
	errno = code;
	return result;
}

static void reads_in_order(read_way read_some)
{
	static char bytes[WHOLE];
	struct watched own;
	long size;

	ready_pairs(&own, SOCK_NONBLOCK, true);
	for (int i = 0; i < MANY; i++) {
		for (long got = 0; got < WHOLE; got += size) {
			size = read_some(own.pairs[i][1], bytes, 700);
			if (size < 0 && errno == EINVAL && read_some == by_sendfile_out)
				skip("this kernel's sendfile does not read sockets");
			CHECK(size > 0);
			check_numbers(bytes, (uint64_t)got, (size_t)size);
		}
		FAILS(EAGAIN, recv(own.pairs[i][1], bytes, 1, 0));
	}
}

CASE(reading_keeps_the_order) { reads_in_order(by_read); }
CASE(recvmmsg_keeps_the_order) { reads_in_order(by_recvmmsg); }
CASE(splice_keeps_the_order) { reads_in_order(by_splice_out); }
CASE(sendfile_into_a_pipe_keeps_the_order) { reads_in_order(by_sendfile_out); }
CASE(reading_at_no_position_keeps_the_order) { reads_in_order(by_preadv2); }
CASE(receiving_control_data_keeps_the_order) { reads_in_order(by_recvmsg_with_control); }

CASE(reading_by_another_number_keeps_the_order)
{
	static char bytes[WHOLE];
	struct watched own;

	ready_pairs(&own, SOCK_NONBLOCK, false);
	for (int i = 0; i < MANY; i++) {
		GIVES(HALF, by_duplicate(own.pairs[i][1], bytes, WHOLE));
		check_numbers(bytes, 0, HALF);
		send_numbers(own.pairs[i][0], HALF, HALF);
		GIVES(1, poll(&(struct pollfd){ .fd = own.pairs[i][1], .events = POLLIN }, 1, 1000));
		GIVES(HALF, by_duplicate(own.pairs[i][1], bytes, WHOLE));
		check_numbers(bytes, HALF, HALF);
	}
}

CASE(what_a_peer_sent_is_gone_when_its_connection_is_dissolved)
{
	static char bytes[WHOLE];
	struct watched own;
	int peer, unread = -1;

	ready_pairs(&own, SOCK_NONBLOCK, false);
	for (int i = 0; i < MANY; i++) {
		int fd = own.pairs[i][1], other = i & 1 ? (int)SYS(dup(fd)) : fd;

		GIVES(0, dissolve(fd));
		GIVES(0, ioctl(other, FIONREAD, &unread));
		CHECK(unread == 0);
		if (i & 2)
			FAILS(ECONNRESET, recv(other, bytes, 9, 0));
		if (i & 2)
			FAILS(ENOTCONN, recv(fd, bytes, 9, 0));
		peer = connect_anew(fd);
		FAILS(EAGAIN, recv(other, bytes, 9, 0));
		send_numbers(peer, 0, HALF);
		GIVES(1, poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1000));
		GIVES(HALF, recv(fd, bytes, WHOLE, 0));
		check_numbers(bytes, 0, HALF);
		FAILS(EAGAIN, recv(other, bytes, 9, 0));
		GIVES(0, close(peer));
		GIVES(0, recv(other, bytes, 9, 0));
	}
}

CASE(all_is_waited_for_where_that_is_asked)
{
	static char bytes[WHOLE];
	struct iovec parts[2] = { { bytes, 300 }, { bytes + 300, WHOLE - 300 } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	struct watched own;

	ready_pairs(&own, 0, true);
	for (int i = 0; i < MANY; i++) {
		memset(bytes, 0, sizeof(bytes));
		if (i % 2)
			GIVES(WHOLE, recvmsg(own.pairs[i][1], &message, MSG_WAITALL));
		else
			GIVES(WHOLE, recv(own.pairs[i][1], bytes, WHOLE, MSG_WAITALL));
		check_numbers(bytes, 0, WHOLE);
	}
}

/* Programs peek until there is enough. */
CASE(a_peek_sees_all_that_is_there)
{
	static char bytes[WHOLE + 100];
	struct iovec parts[2] = { { bytes, 300 }, { bytes + 300, WHOLE } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	struct watched own;

	ready_pairs(&own, 0, true);
	for (int i = 0; i < MANY; i++) {
		int flags = MSG_PEEK | (i & 1 ? MSG_DONTWAIT : 0);

		GIVES(WHOLE, i & 2 ? recvmsg(own.pairs[i][1], &message, flags) :
				     recv(own.pairs[i][1], bytes, sizeof(bytes), flags));
		check_numbers(bytes, 0, WHOLE);
		memset(bytes, 0, sizeof(bytes));
		GIVES(WHOLE, recv(own.pairs[i][1], bytes, WHOLE, MSG_PEEK | MSG_WAITALL));
		check_numbers(bytes, 0, WHOLE);
		GIVES(WHOLE, recv(own.pairs[i][1], bytes, WHOLE, MSG_WAITALL));
	}
}

CASE(discarded_bytes_are_those_that_come_first)
{
	static char bytes[WHOLE];
	struct watched own;

	ready_pairs(&own, SOCK_NONBLOCK, true);
	for (int i = 0; i < MANY; i++) {
		memset(bytes, 7, sizeof(bytes));
		GIVES(400, recv(own.pairs[i][1], i % 2 ? bytes : NULL, 400, MSG_TRUNC));
		CHECK(bytes[0] == 7 && bytes[399] == 7);
		for (long got = 400, size; got < WHOLE; got += size) {
			size = SYS(recv(own.pairs[i][1], bytes, 900, 0));
			check_numbers(bytes, (uint64_t)got, (size_t)size);
		}
	}
}

CASE(urgent_data_and_errors_are_no_part_of_the_stream)
{
	static char bytes[WHOLE];
	struct watched own;
	int mark = -1;

	ready_pairs(&own, SOCK_NONBLOCK, false);
	for (int i = 0; i < MANY; i++) {
		FAILS(EAGAIN, recv(own.pairs[i][1], bytes, 9, MSG_ERRQUEUE));
		GIVES(1, send(own.pairs[i][0], "!", 1, MSG_OOB));
		sleep_ms(5);
		GIVES(1, recv(own.pairs[i][1], bytes, 9, MSG_OOB));
		CHECK(bytes[0] == '!');
		GIVES(0, ioctl(own.pairs[i][1], SIOCATMARK, &mark));
		CHECK(mark == 0);
		GIVES(HALF, recv(own.pairs[i][1], bytes, WHOLE, 0));
		check_numbers(bytes, 0, HALF);
		GIVES(0, ioctl(own.pairs[i][1], SIOCATMARK, &mark));
		CHECK(mark == 1);
	}
}

CASE(received_pages_are_offered_in_order)
{
	static char bytes[WHOLE];
	struct watched own;

	ready_pairs(&own, SOCK_NONBLOCK, true);
	for (int i = 0; i < MANY; i++) {
		struct { uint64_t address; uint32_t length, to_read; } asked = { 0 };
		socklen_t size = sizeof(asked);
		void *room = mmap(NULL, 65536, PROT_READ, MAP_SHARED, own.pairs[i][1], 0);

		if (room == MAP_FAILED)
			skip("this kernel maps no received pages");
		asked.address = (uint64_t)(uintptr_t)room;
		asked.length = 65536;
		if (getsockopt(own.pairs[i][1], IPPROTO_TCP, 35 /* TCP_ZEROCOPY_RECEIVE */, &asked, &size) != 0)
			skip("this kernel maps no received pages");
		CHECK(asked.length == 0 && asked.to_read >= HALF && asked.to_read <= WHOLE);
		GIVES(asked.to_read, recv(own.pairs[i][1], bytes, asked.to_read, 0));
		check_numbers(bytes, 0, asked.to_read);
	}
}

ROLE(read_inherited)
{
	static char bytes[WHOLE];

	GIVES(WHOLE, recv(0, bytes, WHOLE, MSG_WAITALL));
	check_numbers(bytes, 0, WHOLE);
}

/* As servers that hand a connection to a program they start: nothing of it was read before. */
CASE(a_program_that_is_executed_finds_all_that_nobody_read)
{
	struct watched own;
	int pair[2];

	loop_warm();
	ready_pairs(&own, SOCK_NONBLOCK, false);
	stream_pair(pair, 0, 0);
	GIVES(0, epoll_ctl(own.epoll, EPOLL_CTL_ADD, pair[1], &(struct epoll_event){ .events = EPOLLIN }));
	send_numbers(pair[0], 0, HALF);
	GIVES(MANY, epoll_wait(own.epoll, (struct epoll_event[MANY]){ 0 }, MANY, 1000));
	sleep_ms(20);
	SYS(epoll_wait(own.epoll, (struct epoll_event[2 * MANY]){ 0 }, 2 * MANY, 1000));
	if (SYS(fork()) == 0) {
		SYS(dup2(pair[1], 0));
		SYS(execl("/proc/self/exe", case_argv[0], "read_inherited", NULL));
	}
	send_numbers(pair[0], HALF, HALF);
	GIVES(0, close(pair[1]));
	int status = 0;
	CHECK(wait(&status) > 0 && status == 0);
}

/* The same by a message on a unix socket. */
CASE(a_process_that_is_given_a_connection_finds_all_that_nobody_read)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(4)]; } control = { .header = { CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS } };
	static char bytes[WHOLE];
	struct iovec part = { bytes, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	int way_fds[2], pair[2];
	struct watched own;
	pid_t child;

	GIVES(0, socketpair(AF_UNIX, SOCK_STREAM, 0, way_fds));
	child = (pid_t)SYS(fork());
	if (child == 0) {
		int fd;

		GIVES(1, recvmsg(way_fds[1], &message, 0));
		memcpy(&fd, CMSG_DATA(&control.header), 4);
		GIVES(WHOLE, recv(fd, bytes, WHOLE, MSG_WAITALL));
		check_numbers(bytes, 0, WHOLE);
		_exit(0);
	}
	ready_pairs(&own, SOCK_NONBLOCK, false);
	stream_pair(pair, 0, 0);
	GIVES(0, epoll_ctl(own.epoll, EPOLL_CTL_ADD, pair[1], &(struct epoll_event){ .events = EPOLLIN }));
	send_numbers(pair[0], 0, HALF);
	SYS(epoll_wait(own.epoll, (struct epoll_event[2 * MANY]){ 0 }, 2 * MANY, 1000));
	sleep_ms(20);
	SYS(epoll_wait(own.epoll, (struct epoll_event[2 * MANY]){ 0 }, 2 * MANY, 1000));
	memcpy(CMSG_DATA(&control.header), &pair[1], 4);
	GIVES(1, sendmsg(way_fds[0], &message, 0));
	GIVES(0, close(pair[1]));
	send_numbers(pair[0], HALF, HALF);
	GIVES(0, exit_status(child));
}

/* By sendmmsg, and read from before: its giver's event loop takes nothing of it any more. */
CASE(a_connection_that_is_given_away_among_messages_is_the_others)
{
	union { struct cmsghdr header; char room[CMSG_SPACE(4)]; } control = { .header = { CMSG_LEN(4), SOL_SOCKET, SCM_RIGHTS } };
	static char bytes[WHOLE];
	struct iovec part = { bytes, 1 };
	struct mmsghdr messages[2] = {
		{ .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } },
		{ .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) } },
	};
	int way_fds[2], pair[2], fd;
	struct watched own;

	loop_warm();
	ready_pairs(&own, SOCK_NONBLOCK, false);
	GIVES(0, socketpair(AF_UNIX, SOCK_DGRAM, 0, way_fds));
	stream_pair(pair, 0, 0);
	GIVES(0, epoll_ctl(own.epoll, EPOLL_CTL_ADD, pair[1], &(struct epoll_event){ .events = EPOLLIN }));
	send_numbers(pair[0], 0, HALF);
	SYS(epoll_wait(own.epoll, (struct epoll_event[2 * MANY]){ 0 }, 2 * MANY, 1000));
	GIVES(HALF, recv(pair[1], bytes, HALF, MSG_WAITALL));
	memcpy(CMSG_DATA(&control.header), &pair[1], 4);
	GIVES(2, sendmmsg(way_fds[0], messages, 2, 0));
	GIVES(1, recv(way_fds[1], bytes, 1, 0));
	messages[1].msg_hdr.msg_controllen = sizeof(control);
	GIVES(1, recvmsg(way_fds[1], &messages[1].msg_hdr, 0));
	memcpy(&fd, CMSG_DATA(&control.header), 4);
	send_numbers(pair[0], HALF, HALF);
	for (int i = 0; i < 4; i++) {
		SYS(epoll_wait(own.epoll, (struct epoll_event[2 * MANY]){ 0 }, 2 * MANY, 1000));
		sleep_ms(5);
	}
	GIVES(HALF, recv(fd, bytes + HALF, HALF, MSG_DONTWAIT));
	for (int i = 0; i < HALF; i++)
		bytes[i] = bytes[i + HALF];
	check_numbers(bytes, HALF, HALF);
}

CASE(a_least_count_holds_for_readiness)
{
	struct watched own;
	struct epoll_event event;
	int pair[2], epoll, least = WHOLE;
	static char bytes[WHOLE];

	ready_pairs(&own, SOCK_NONBLOCK, false);
	stream_pair(pair, SOCK_NONBLOCK, 0);
	epoll = loop_of(pair[1]);
	GIVES(1, send(pair[0], "x", 1, 0));
	GIVES(1, epoll_wait(epoll, &event, 1, 1000));
	GIVES(1, read(pair[1], bytes, 9));
	GIVES(0, setsockopt(pair[1], SOL_SOCKET, SO_RCVLOWAT, &least, sizeof(least)));
	send_numbers(pair[0], 0, HALF);
	sleep_ms(20);
	turn(epoll, 0);
	send_numbers(pair[0], HALF, HALF);
	GIVES(1, epoll_wait(epoll, &event, 1, 1000));
	GIVES(WHOLE, read(pair[1], bytes, WHOLE));
	check_numbers(bytes, 0, WHOLE);
}

/* A connection that one thread's loop watches and another reads. */
struct shared_reader {
	int fd;
	bool is_blocking;
	uint64_t total;
};

static void *read_shared(void *argument)
{
	struct shared_reader *own = argument;
	static char bytes[3000];

	for (uint64_t got = 0; got < own->total;) {
		long size = recv(own->fd, bytes, sizeof(bytes), own->is_blocking ? 0 : MSG_DONTWAIT);

		if (size < 0 && errno == EAGAIN) {
			sched_yield();
			continue;
		}
		CHECK(size > 0);
		check_numbers(bytes, got, (size_t)size);
		got += (uint64_t)size;
	}
	return NULL;
}

static void *write_shared(void *argument)
{
	uint64_t total = 400000;

	for (uint64_t at = 0; at < total; at += HALF) {
		send_numbers(*(int *)argument, at, HALF);
		if (at % 16000 == 0)
			sleep_ms(1);
	}
	return NULL;
}

static void read_by_another_thread(bool is_blocking)
{
	struct epoll_event events[2 * MANY];
	struct shared_reader reader = { .is_blocking = is_blocking, .total = 400000 };
	struct watched own;
	pthread_t reading, writing;
	int pair[2];
	char byte;

	ready_pairs(&own, SOCK_NONBLOCK, false);
	stream_pair(pair, 0, 0);
	GIVES(0, epoll_ctl(own.epoll, EPOLL_CTL_ADD, pair[1], &(struct epoll_event){ .events = EPOLLIN }));
	GIVES(1, send(pair[0], "x", 1, 0));
	GIVES(1, recv(pair[1], &byte, 1, 0));
	reader.fd = pair[1];
	GIVES(0, pthread_create(&reading, NULL, read_shared, &reader));
	GIVES(0, pthread_create(&writing, NULL, write_shared, &pair[0]));
	for (int i = 0; pthread_tryjoin_np(reading, NULL) != 0; i++)
		SYS(epoll_wait(own.epoll, events, 2 * MANY, 1));
	GIVES(0, pthread_join(writing, NULL));
}

CASE(a_thread_that_reads_what_anothers_loop_watches_reads_in_order) { read_by_another_thread(false); }
CASE(a_thread_that_waits_for_what_anothers_loop_watches_gets_it) { read_by_another_thread(true); }
