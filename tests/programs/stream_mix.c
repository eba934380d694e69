/*
 * stream_mix.c - every call that sends and every call that receives, mixed at random on several connections.
 *
 * Owns: the cases of two loops that talk to each other. Must never: depend on which calls chance picks: the seed is fixed,
 * the timing is not. Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "stream_ways.h"

enum { LINKS = 7, TOTAL = 900000, WAIT_MS = 20, IDLE_MAX = 1000 };

/* One end of a connection. */
struct end {
	int fd;
	uint64_t sent, got;
	int has_shut, is_over;
};

struct side {
	struct end ends[LINKS];
	uint64_t seed;
	int epoll;
};

static const send_way send_ways[] = { by_write, by_write, by_write, by_sendfile, by_splice, by_sendmsg_with_control,
				      by_sendto_with_address, by_send_with_a_rare_flag, by_pwritev2, by_a_large_write };
static const read_way read_ways[] = { by_read, by_read, by_recvmmsg, by_splice_out, by_preadv2, by_recvmsg_with_control };

static unsigned chance(struct side *own, unsigned of)
{
	own->seed = own->seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(own->seed >> 33) % of;
}

/* Peeks, discards and waits are reads, too. */
static long read_oddly(struct side *own, struct end *end, char *bytes, size_t size)
{
	long peeked = recv(end->fd, bytes, size, MSG_PEEK);

	if (peeked <= 0)
		return peeked;
	check_numbers(bytes, end->got, (size_t)peeked);
	if (chance(own, 2)) {
		memset(bytes, 0, size);
		return recv(end->fd, bytes, (size_t)peeked, MSG_WAITALL);
	}
	GIVES(peeked, recv(end->fd, NULL, (size_t)peeked, MSG_TRUNC));
	end->got += (uint64_t)peeked;
	errno = EAGAIN;
	return -1;
}

static void read_some(struct side *own, struct end *end)
{
	char bytes[5000];

	for (unsigned i = chance(own, 4); i < 4 && !end->is_over; i++) {
		size_t size = 1 + chance(own, sizeof(bytes));
		long got = chance(own, 4) ? read_ways[chance(own, sizeof(read_ways) / sizeof(*read_ways))](end->fd, bytes, size) :
					    read_oddly(own, end, bytes, size);

		CHECK(got >= 0 || errno == EAGAIN);
		if (got > 0)
			check_numbers(bytes, end->got, (size_t)got);
		end->got += got > 0 ? (uint64_t)got : 0;
		end->is_over = got == 0;
	}
	CHECK(!end->is_over || end->got >= TOTAL);
}

static void send_some(struct side *own, struct end *end)
{
	char bytes[PIECE_MAX];

	for (unsigned i = chance(own, 6); i < 6 && end->sent < TOTAL; i++) {
		size_t size = 1 + chance(own, chance(own, 2) ? 100 : sizeof(bytes));
		long sent;

		number_bytes(bytes, end->sent, size);
		sent = send_ways[chance(own, sizeof(send_ways) / sizeof(*send_ways))](end->fd, bytes, size, end->sent);
		CHECK(sent > 0 || errno == EAGAIN);
		if (sent <= 0)
			break;
		end->sent += (uint64_t)sent;
	}
	if (end->sent >= TOTAL && !end->has_shut) {
		GIVES(0, shutdown(end->fd, SHUT_WR));
		end->has_shut = 1;
	}
}

static void *talk(void *argument)
{
	struct side *own = argument;
	struct epoll_event events[LINKS];
	int left = LINKS, idle = 0;

	loop_warm();
	own->epoll = (int)SYS(epoll_create1(0));
	for (int i = 0; i < LINKS; i++)
		GIVES(0, epoll_ctl(own->epoll, EPOLL_CTL_ADD, own->ends[i].fd,
				   &(struct epoll_event){ .events = EPOLLIN, .data.u32 = (uint32_t)i }));
	while (left) {
		int count = (int)SYS(epoll_wait(own->epoll, events, LINKS, WAIT_MS));

		idle = count ? 0 : idle + 1;
		CHECK(idle < IDLE_MAX);
		for (int i = 0; i < count; i++)
			read_some(own, &own->ends[events[i].data.u32]);
		left = 0;
		for (int i = 0; i < LINKS; i++) {
			send_some(own, &own->ends[i]);
			left += !own->ends[i].is_over || !own->ends[i].has_shut;
			if (own->ends[i].is_over && own->ends[i].fd >= 0)
				epoll_ctl(own->epoll, EPOLL_CTL_DEL, own->ends[i].fd, NULL);
		}
	}
	return NULL;
}

static void two_sides_talk(int room)
{
	static struct side sides[2];
	pthread_t threads[2];

	for (int i = 0; i < LINKS; i++) {
		int pair[2];

		stream_pair(pair, SOCK_NONBLOCK, i % 3 ? room : 0);
		GIVES(0, fcntl(pair[0], F_SETFL, O_NONBLOCK));
		sides[0].ends[i].fd = pair[0];
		sides[1].ends[i].fd = pair[1];
	}
	for (int i = 0; i < 2; i++) {
		sides[i].seed = (uint64_t)(room + i);
		GIVES(0, pthread_create(&threads[i], NULL, talk, &sides[i]));
	}
	for (int i = 0; i < 2; i++)
		GIVES(0, pthread_join(threads[i], NULL));
	for (int i = 0; i < LINKS; i++)
		CHECK(sides[0].ends[i].got == sides[1].ends[i].sent && sides[1].ends[i].got == sides[0].ends[i].sent);
}

CASE(mixed_calls_on_small_buffers_keep_every_stream_in_order) { two_sides_talk(4096); }
CASE(mixed_calls_on_larger_buffers_keep_every_stream_in_order) { two_sides_talk(60000); }
