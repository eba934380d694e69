/*
 * stream_reuse.c - the number of a closed connection that lives on, given to the next one: neither takes the other's bytes.
 *
 * Owns: the cases of a connection that outlives its number, by a copy or by what its peer has not taken yet, while a loop
 * watched it. Must never: count on the loop being silent about the old one: the kernel isn't, where a copy is open.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "streams.h"

enum { OLD = 1, NEW = 2, ROUNDS = 60, SIZE = 500 };

/* A loop that watches a connection with something to read; and the one that waits to be accepted in its place. */
struct reuse {
	int old[2], new_peer, server, epoll, number;
};

static void watch(int epoll, int fd, uint64_t data)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = data };

	GIVES(0, epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static void await(int epoll, uint64_t data)
{
	struct epoll_event events[2];

	for (int tries = 0; tries < 5000; tries++) {
		long count = SYS(epoll_wait(epoll, events, 2, 1000));

		for (long i = 0; i < count; i++)
			if (events[i].data.u64 == data)
				return;
	}
	fail(__FILE__, __LINE__, "the loop tells of", (long)data, 0);
}

static struct reuse reuse_make(int room)
{
	struct sockaddr_in address;
	struct reuse own;
	char byte;

	loop_warm();
	own.server = listener(&address);
	own.epoll = (int)SYS(epoll_create1(0));
	own.new_peer = (int)SYS(socket(AF_INET, SOCK_STREAM, 0));
	stream_pair(own.old, SOCK_NONBLOCK, room);
	own.number = own.old[1];
	watch(own.epoll, own.number, OLD);
	GIVES(1, send(own.old[0], "x", 1, 0));
	await(own.epoll, OLD);
	GIVES(1, recv(own.number, &byte, 1, 0));
	GIVES(0, connect(own.new_peer, (void *)&address, sizeof(address)));
	GIVES(3, send(own.old[0], "old", 3, 0));
	return own;
}

/* The next connection gets the number, and all that is sent to it. */
static void next_gets_all(const struct reuse *own)
{
	char bytes[SIZE];

	while (1) {	/* what a listener or a file of the test's had below it is free, too */
		int fd = (int)SYS(dup(own->epoll));

		if (fd < own->number)
			continue;
		GIVES(own->number, fd);
		GIVES(0, close(fd));
		break;
	}
	GIVES(own->number, accept4(own->server, NULL, NULL, SOCK_NONBLOCK));
	watch(own->epoll, own->number, NEW);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		number_bytes(bytes, round * SIZE, SIZE);
		GIVES(SIZE, send(own->new_peer, bytes, SIZE, 0));
		await(own->epoll, NEW);
		GIVES(SIZE, recv(own->number, bytes, SIZE, MSG_WAITALL));
		check_numbers(bytes, round * SIZE, SIZE);
	}
}

CASE(a_connection_with_a_copy_takes_nothing_from_the_next_of_its_number)
{
	struct reuse own = reuse_make(0);

	SYS(fcntl(own.number, F_DUPFD, 200));
	GIVES(0, close(own.number));
	next_gets_all(&own);
}

static pthread_barrier_t warm;

static void *turns_of_another(void *epoll)
{
	struct epoll_event events[2];

	loop_warm();
	pthread_barrier_wait(&warm);
	for (int i = 0; i < 400; i++)
		SYS(epoll_wait(*(int *)epoll, events, 2, 1));
	return NULL;
}

CASE(a_connection_with_a_copy_takes_nothing_in_another_threads_loop)
{
	struct reuse own = reuse_make(0);
	pthread_t other;

	SYS(fcntl(own.number, F_DUPFD, 200));
	GIVES(0, pthread_barrier_init(&warm, NULL, 2));
	GIVES(0, pthread_create(&other, NULL, turns_of_another, &own.epoll));
	pthread_barrier_wait(&warm);
	GIVES(0, close(own.number));
	next_gets_all(&own);
	GIVES(0, pthread_join(other, NULL));
}

static int watched_numbers(int epoll)
{
	char path[64], line[256];
	int count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll);
	file = fopen(path, "r");
	CHECK(file);
	while (fgets(line, sizeof(line), file))
		count += strncmp(line, "tfd:", 4) == 0;
	fclose(file);
	return count;
}

/* Bytes that the peer hasn't taken keep it open, out of the program's sight: the loop must not see it either. */
CASE(a_connection_with_unsent_bytes_leaves_the_loop_when_it_is_closed)
{
	static char bytes[SIZE];
	struct reuse own = reuse_make(4096);

	number_bytes(bytes, 0, sizeof(bytes));
	while (send(own.number, bytes, sizeof(bytes), 0) > 0)
		await(own.epoll, OLD);
	CHECK(errno == EAGAIN);
	GIVES(1, watched_numbers(own.epoll));
	GIVES(0, close(own.number));
	GIVES(0, watched_numbers(own.epoll));
	next_gets_all(&own);
	GIVES(1, watched_numbers(own.epoll));
}
