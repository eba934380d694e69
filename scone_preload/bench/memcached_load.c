/*
 * memcached_load.c - a load for memcached over its text protocol: nine gets to a set, on many connections at once.
 *
 * Owns: connections to one server on loopback; each has one request under way. Must never: take a wrong answer.
 * Called by: scone_preload/bench/loads.py. Usage: memcached_load PORT CONNECTIONS SECONDS; prints requests, seconds.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "load.h"

enum { KEYS = 1000, VALUE = 100, CONNECTIONS_MAX = 1000, BATCH = 64 };

struct connection {
	int fd;
	unsigned sent;		/* requests so far */
	size_t wanted;		/* bytes of the answer that are still to come */
	char last;		/* the last letter before the line end: 'D' of END or STORED */
};

static struct connection connections[CONNECTIONS_MAX];
static char value[VALUE];

/* Sends a request and notes how long its answer must be. */
static void request(struct connection *connection, unsigned key, int set)
{
	char text[VALUE + 64];
	int size;

	if (set) {
		size = snprintf(text, sizeof(text), "set key%04u 0 0 %d\r\n%.*s\r\n", key, VALUE, VALUE, value);
		connection->wanted = strlen("STORED\r\n");
	} else {
		size = snprintf(text, sizeof(text), "get key%04u\r\n", key);
		connection->wanted = strlen("VALUE key0000 0 100\r\n") + VALUE + 2 + strlen("END\r\n");
	}
	if (write(connection->fd, text, (size_t)size) != size)
		fail("write");
	connection->sent++;
}

/* Reads what is there; 1 if the answer is complete. */
static int answer(struct connection *connection)
{
	char text[4096];
	ssize_t size = read(connection->fd, text, sizeof(text));

	if (size <= 0 || (size_t)size > connection->wanted) {
		fprintf(stderr, "unexpected answer of %zd bytes: %.*s\n", size, size > 0 ? (int)size : 0, text);
		exit(1);
	}
	if (size >= 3)
		connection->last = text[size - 3];
	connection->wanted -= (size_t)size;
	if (connection->wanted == 0 && connection->last != 'D') {
		fprintf(stderr, "wrong answer: %.*s\n", (int)size, text);
		exit(1);
	}
	return connection->wanted == 0;
}

static void fill(struct connection *connection)
{
	for (unsigned key = 0; key < KEYS; key++) {
		request(connection, key, 1);
		while (!answer(connection))
			;
	}
}

static unsigned long run(int epoll, int count, double seconds)
{
	struct epoll_event events[BATCH];
	unsigned long done = 0;
	unsigned key = 1;
	double end = now_s() + seconds;

	for (int i = 0; i < count; i++)
		request(&connections[i], (unsigned)i % KEYS, 0);
	while (now_s() < end) {
		int ready = epoll_wait(epoll, events, BATCH, 1000);

		if (ready <= 0)
			fail("nothing answers");
		for (int i = 0; i < ready; i++) {
			struct connection *connection = events[i].data.ptr;

			if (!answer(connection))
				continue;
			done++;
			key = (key * 1103515245u + 12345u) & 0x7fffffff;
			request(connection, (key >> 8) % KEYS, connection->sent % 10 == 0);
		}
	}
	return done;
}

int main(int argc, char **argv)
{
	int count = argc == 4 ? atoi(argv[2]) : 0, epoll = epoll_create1(0);
	unsigned long done;
	double start;

	if (count < 1 || count > CONNECTIONS_MAX || epoll < 0) {
		fprintf(stderr, "usage: memcached_load PORT CONNECTIONS SECONDS\n");
		return 2;
	}
	memset(value, 'v', sizeof(value));
	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &connections[i] };

		connections[i].fd = connect_to(atoi(argv[1]));
		epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
	}
	fill(&connections[0]);
	start = now_s();
	done = run(epoll, count, atof(argv[3]));
	printf("%lu %.6f\n", done + KEYS, now_s() - start);
	return 0;
}
