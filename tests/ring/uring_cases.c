/*
 * uring_cases.c - many posts and reads in one crossing, by io_uring and by plain calls: uring_cases CASE.
 *
 * Owns: a function a case; the name is the promise, which holds whichever backend choose_backend() found chosen.
 * Must never: promise of one backend what the other doesn't. Run by: test_ring.py, plain and sanitized.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#undef PAGE_SIZE
#include "support.h"
#include "ring_inner.h"

static struct thread *me;

/* How many calls io_uring took, of `all`: by RING_URING all, some or none. */
static void check_backend(uint64_t by_uring, uint64_t all)
{
	const char *backend = getenv("RING_URING");

	if (backend && strcmp(backend, "always") == 0)
		CHECK(by_uring == all);
	else if (backend && strcmp(backend, "never") == 0)
		CHECK(by_uring == 0);
	else
		CHECK(by_uring <= all);
}

/* One post to each of many peers, all in one crossing; how many calls io_uring has taken so far. */
static uint64_t send_to_all(void)
{
	struct ring_stats stats;
	char got[4];
	int fds[20][2];

	for (int i = 0; i < 20; i++) {
		pair(fds[i], SOCK_STREAM);
		CHECK(ring_post(me, fds[i][0], "abc", 3, 0) == 3);
	}
	CHECK(ring_flush(me) == 0);
	for (int i = 0; i < 20; i++) {
		CHECK(read_all(fds[i][1], got, 3) == 3);
		close(fds[i][0]);
		close(fds[i][1]);
	}
	ring_stats(&stats);
	check_backend(stats.by_uring, stats.by_uring);
	return stats.by_uring;
}

/* Posts on many descriptors, several on each: what io_uring takes at once and what is too many for it. */
static void posts_to_many_arrive_in_order(void)
{
	enum { PEERS = 40, ROUNDS = 60 };
	struct ring_stats stats;
	int fds[PEERS][2];
	char line[16], got[16];

	for (int i = 0; i < PEERS; i++)
		pair(fds[i], SOCK_STREAM);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < PEERS; i++) {
			int size = snprintf(line, sizeof line, "%02d to %02d\n", round, i);

			while (ring_post(me, fds[i][0], line, (size_t)size, 0) == -EAGAIN)
				CHECK(ring_flush(me) == 0);
		}
	}
	CHECK(ring_flush(me) == 0);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < PEERS; i++) {
			size_t size = (size_t)snprintf(line, sizeof line, "%02d to %02d\n", round, i);

			CHECK(read_all(fds[i][1], got, size) == size && memcmp(got, line, size) == 0);
		}
	}
	ring_stats(&stats);
	CHECK(stats.posts == PEERS * ROUNDS);
	check_backend(stats.by_uring, PEERS * ROUNDS);
}

/* Together: one that fails, one whose peer is full, one that goes on. */
static void posts_together_have_results_of_their_own(void)
{
	static char bytes[16384], got[16384];
	int broken[2], full[2], open[2];
	size_t posted = 0, received = 0, size;

	pair(broken, SOCK_STREAM);
	pair(full, SOCK_STREAM);
	pair(open, SOCK_STREAM);
	close(broken[1]);
	for (int after = 0; after < 3; after += ring_post_state(full[0]) == RING_BACKLOG) {
		memset(bytes, (int)(posted / sizeof bytes), sizeof bytes);
		ring_post(me, broken[0], "abc", 3, 0);
		if (ring_post(me, full[0], bytes, sizeof bytes, 0) > 0)
			posted += sizeof bytes;
		CHECK(ring_post(me, open[0], "abc", 3, 0) == 3);
		CHECK(ring_flush(me) == 0);
		CHECK(read_all(open[1], got, 3) == 3);
	}
	CHECK(ring_post_state(broken[0]) == -EPIPE);
	CHECK(ring_post_state(full[0]) == RING_BACKLOG);
	for (int round = 0; received < posted; round++) {
		size = read_all(full[1], got, sizeof got);
		CHECK(size == sizeof got);
		for (size_t i = 0; i < size; i++)
			CHECK(got[i] == round);
		received += size;
	}
	CHECK(ring_settle(me, full[0], RING_WAIT) == 0);
}

/* More ready descriptors than io_uring takes at once, among them one that is at its end and one that listens. */
static void a_turn_reads_ahead_of_many(void)
{
	enum { PEERS = 50, END = 7, LISTENS = 9 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	struct epoll_event event = { EPOLLIN, { .u64 = 0 } }, *events;
	int epoll = epoll_create1(0), fds[PEERS][2];
	struct ring_ahead ahead[64];
	struct ring_stats stats;
	size_t count;

	for (int i = 0; i < PEERS; i++) {
		pair(fds[i], SOCK_STREAM);
		if (i == LISTENS) {
			close(fds[i][0]);
			fds[i][0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			CHECK(bind(fds[i][0], (struct sockaddr *)&address, size) == 0 && listen(fds[i][0], 1) == 0);
			CHECK(getsockname(fds[i][0], (struct sockaddr *)&address, &size) == 0);
			CHECK(connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, size) == 0);
		}
		event.data.u64 = (uint64_t)fds[i][0];
		CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][0], &event) == 0);
		if (i == END)
			close(fds[i][1]);
		else if (i != LISTENS)
			CHECK(write(fds[i][1], &i, sizeof i) == sizeof i);
	}
	events = lane_data(me, PEERS * sizeof *events);
	long args[6] = { epoll, (long)events, PEERS, -1 };

	for (int i = 0; i < PEERS; i++)
		ring_mark(fds[i][0], true);
	CHECK(ring_turn(me, __NR_epoll_wait, args, RING_EINTR, ahead, &count) == PEERS);
	CHECK(count == PEERS - 1);
	for (size_t i = 0; i < count; i++) {
		int from = 0;

		while ((uint32_t)fds[from][0] != events[ahead[i].event].data.u32)
			from++;
		CHECK(from != LISTENS);
		CHECK(ahead[i].result == (from == END ? 0 : (long)sizeof from));
		CHECK(from == END || memcmp(ahead[i].bytes, &from, sizeof from) == 0);
	}
	CHECK(__builtin_popcountl(me->lane->ahead_busy) == PEERS - 2);
	ring_stats(&stats);
	check_backend(stats.by_uring, PEERS);
}

/* The helper shares the program's descriptors. */
static void no_descriptor_stands_for_it(void)
{
	char path[32], target[64];

	send_to_all();
	for (int fd = 0; fd < 256; fd++) {
		ssize_t size;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		size = readlink(path, target, sizeof target);
		CHECK(size < 0 || !memmem(target, (size_t)size, "uring", 5));
	}
}

/* A helper for which system call `nr` fails. */
static void helper_without(uint32_t nr)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };

	CHECK(ring_stop(me) == 0);
	ring_resume();
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	CHECK(ring_attach(me));
}

static void a_kernel_that_has_no_io_uring_is_no_obstacle(void)
{
	helper_without(__NR_io_uring_setup);
	CHECK(send_to_all() == 0);
}

static void a_kernel_that_refuses_each_batch_is_no_obstacle(void)
{
	helper_without(__NR_io_uring_enter);
	CHECK(send_to_all() == 0);
}

/* The new twin begins in memory that the old one's io_uring left. */
static void a_new_helper_has_an_io_uring_of_its_own(void)
{
	uint64_t before = send_to_all();

	CHECK(ring_stop(me) == 0);
	ring_resume();
	CHECK(ring_attach(me));
	CHECK(send_to_all() == 2 * before);
}

#define CASE(name) { #name, name }
static const struct { const char *name; void (*run)(void); } cases[] = {
	CASE(posts_to_many_arrive_in_order),
	CASE(posts_together_have_results_of_their_own),
	CASE(a_turn_reads_ahead_of_many),
	CASE(no_descriptor_stands_for_it),
	CASE(a_kernel_that_has_no_io_uring_is_no_obstacle),
	CASE(a_kernel_that_refuses_each_batch_is_no_obstacle),
	CASE(a_new_helper_has_an_io_uring_of_its_own),
};

int main(int count, char **names)
{
	choose_backend();
	me = test_thread();
	CHECK(count == 2 && ring_attach(me));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		if (strcmp(names[1], cases[i].name) != 0)
			continue;
		cases[i].run();
		ring_exit(me);
		puts("ok");
		return 0;
	}
	return 2;
}
