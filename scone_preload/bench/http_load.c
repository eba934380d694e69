/*
 * http_load.c - a load for web servers: one file over kept-alive connections, for any time, however short.
 *
 * Owns: connections to one server on loopback; each has one request under way. Must never: take a wrong answer.
 * Called by: scone_preload/bench/loads.py. Usage: http_load PORT CONNECTIONS SECONDS PATH; prints requests, seconds.
 */
#define _GNU_SOURCE
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "load.h"

enum { CONNECTIONS_MAX = 1000, BATCH = 64, READ_MAX = 1 << 18 };

struct connection {
	int fd;
	size_t wanted;		/* bytes of the answer that are still to come */
	int is_begun;
};

static struct connection connections[CONNECTIONS_MAX];
static char request_text[512], bytes[READ_MAX];
static size_t request_size;

static void request(struct connection *connection)
{
	connection->is_begun = 0;
	if (write(connection->fd, request_text, request_size) != (ssize_t)request_size)
		fail("write");
}

/* What an answer's first `size` bytes say of it: how long it is. They hold the whole head. */
static size_t answer_size(size_t size)
{
	static const char good[] = "HTTP/1.1 200 ", length_is[] = "\r\nContent-Length: ";
	char *body, *length;

	bytes[size] = 0;
	body = strstr(bytes, "\r\n\r\n");
	length = strcasestr(bytes, length_is);
	if (strncmp(bytes, good, sizeof(good) - 1) != 0 || !body || !length || length > body) {
		fprintf(stderr, "unexpected answer of %zu bytes: %.200s\n", size, bytes);
		exit(1);
	}
	return (size_t)(body + 4 - bytes) + strtoul(length + sizeof(length_is) - 1, NULL, 10);
}

/* Reads what is there; 1 if the answer is complete. */
static int answer(struct connection *connection)
{
	ssize_t size = read(connection->fd, bytes, sizeof(bytes) - 1);

	if (size <= 0)
		fail("read");
	if (!connection->is_begun)
		connection->wanted = answer_size((size_t)size);
	connection->is_begun = 1;
	if ((size_t)size > connection->wanted) {
		fprintf(stderr, "more than the answer: %zd of %zu bytes\n", size, connection->wanted);
		exit(1);
	}
	connection->wanted -= (size_t)size;
	return connection->wanted == 0;
}

/* Until the time is over, and each answer is there. */
static unsigned long run(int epoll, int count, double seconds)
{
	struct epoll_event events[BATCH];
	unsigned long done = 0;
	double end = now_s() + seconds;
	int pending = count;

	for (int i = 0; i < count; i++)
		request(&connections[i]);
	while (pending) {
		int ready = epoll_wait(epoll, events, BATCH, 5000);
		int is_over = now_s() >= end;

		if (ready <= 0)
			fail("nothing answers");
		for (int i = 0; i < ready; i++) {
			if (!answer(events[i].data.ptr))
				continue;
			done++;
			if (is_over)
				pending--;
			else
				request(events[i].data.ptr);
		}
	}
	return done;
}

int main(int argc, char **argv)
{
	int count = argc == 5 ? atoi(argv[2]) : 0, epoll = epoll_create1(0);
	unsigned long done;
	double start;

	if (count < 1 || count > CONNECTIONS_MAX || epoll < 0) {
		fprintf(stderr, "usage: http_load PORT CONNECTIONS SECONDS PATH\n");
		return 2;
	}
	request_size = (size_t)snprintf(request_text, sizeof(request_text), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[4]);
	if (request_size >= sizeof(request_text))
		fail("path");
	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = &connections[i] };

		connections[i].fd = connect_to(atoi(argv[1]));
		epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
	}
	start = now_s();
	done = run(epoll, count, atof(argv[3]));
	printf("%lu %.6f\n", done, now_s() - start);
	return 0;
}
