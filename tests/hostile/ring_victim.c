/*
 * ring_victim.c - a program of many threads whose helper lies: ring_victim victim LIE.
 *
 * Owns: sockets, pipes and files used by the ring, each buffer between a pattern and a guard page. Each call must fail
 * with an errno that there is, or give at most what was asked for. Must never: know what is true of the contents: a
 * lying host may make them up. Run by: test_ring_lies.py, under the shim of lying_twin.c and ring_liar.c.
 */
#include "guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include "ring_lie.h"

enum { BUFFER = 6000, PATTERN = 64, ERRNO_MAX = 133, WARM_MS = 150, RUN_MS = 1200, CLIENTS = 4, EVENTS = 140000000 };

#define LIE_WORD(name, ending) #name,
static const char *const lie_names[] = { "none", RING_LIES(LIE_WORD) };

static volatile int is_over;

struct area { uint8_t *base, *bytes; };

static struct area area_make(void)
{
	struct area area = { .base = guarded(PATTERN + BUFFER) };

	memset(area.base, 0xa5, PATTERN);
	area.bytes = area.base + PATTERN;
	return area;
}

/* `size` bytes of it that end at the guard page. */
static void *tail_of(const struct area *area, size_t size)
{
	return area->bytes + BUFFER - size;
}

/* The result of a call that may move at most `most`, or its errno. */
static long given(const char *what, long result, long most, const struct area *area)
{
	if (result > most || result < -1 || (result == -1 && (errno <= 0 || errno > ERRNO_MAX)))
		fail(__FILE__, __LINE__, what, result, errno);
	for (int i = 0; i < PATTERN; i++)
		if (area->base[i] != 0xa5)
			fail(__FILE__, __LINE__, "the pattern before the buffer", area->base[i], i);
	return result;
}

#define GIVEN(call, most) given(#call, (long)(call), (long)(most), &area)

/* A descriptor that the host may have made up: never one that the victim speaks by. */
static void close_any(long fd)
{
	if (fd > 20)
		close((int)fd);
}

static cpu_set_t own_cores;

/* Nobody but the program says where its threads run. */
static void cores_check(void)
{
	cpu_set_t cores;

	GIVES(0, sched_getaffinity(0, sizeof(cores), &cores));
	CHECK(CPU_EQUAL(&cores, &own_cores));
}

static void *pipes(void *unused)
{
	struct area area = area_make();
	int ends[2], at[2];

	SYS(pipe2(ends, O_NONBLOCK));
	SYS(at[0] = fcntl(ends[0], F_DUPFD, 30));
	SYS(at[1] = fcntl(ends[1], F_DUPFD, 30));
	for (size_t size = 1; !is_over; size = size * 7 % 4001) {
		GIVEN(write(at[1], tail_of(&area, size), size), size);
		GIVEN(read(at[0], tail_of(&area, size), size), size);
	}
	cores_check();
	return unused;
}

static void *files(void *unused)
{
	struct area area = area_make();
	struct stat status;

	for (size_t size = 1; !is_over; size = size * 5 % 4093) {
		struct iovec parts[2] = { { tail_of(&area, size), size / 2 },
					  { (char *)tail_of(&area, size) + size / 2, size - size / 2 } };
		long fd = GIVEN(open("of-the-victim", O_RDWR | O_CREAT, 0600), 0x7fffffff);

		GIVEN(pwrite((int)fd, tail_of(&area, size), size, 0), size);
		GIVEN(pread((int)fd, tail_of(&area, size + 100), size + 100, 0), size + 100);
		GIVEN(readv((int)fd, parts, 2), size);
		GIVEN(fstat((int)fd, &status), 0);
		GIVEN(readlink("/etc/localtime", tail_of(&area, size), size), size);
		GIVEN(lseek((int)fd, 0, SEEK_END), INT64_MAX);
		close_any(fd);
	}
	return unused;
}

static bool has_slow;

static int listener(struct sockaddr_in *address)
{
	socklen_t size = sizeof(*address);
	int little = 4096;
	int fd = (int)SYS(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));

	*address = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (has_slow)
		SYS(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)));	/* accepted sockets have it, too */
	SYS(bind(fd, (struct sockaddr *)address, sizeof(*address)));
	SYS(listen(fd, 64));
	SYS(getsockname(fd, (struct sockaddr *)address, &size));
	return fd;
}

static void add(int epoll, int fd)
{
	struct epoll_event event = { EPOLLIN | EPOLLRDHUP, { .u64 = 0xabc00000000ul | (uint32_t)fd } };

	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void event_serve(int epoll, int listens, const struct epoll_event *event, struct area area)
{
	int fd = (int)(uint32_t)event->data.u64;
	long size;

	CHECK(event->data.u64 >> 32 == 0xabc);
	if (fd == listens) {
		size = GIVEN(accept4(listens, NULL, NULL, SOCK_NONBLOCK), 0x7fffffff);
		if (size > 20)
			add(epoll, (int)size);
		return;
	}
	size = GIVEN(read(fd, tail_of(&area, 3000), 3000), 3000);
	if (size > 0)
		GIVEN(write(fd, tail_of(&area, (size_t)size), (size_t)size), size);
	else if (size == 0 || errno != EAGAIN)
		close_any(fd);
}

static int listens;
static struct sockaddr_in address;

static void *server(void *unused)
{
	struct area area = area_make();
	/* Room for as many events as the host may speak of. */
	struct epoll_event *events = mmap(NULL, EVENTS * sizeof(*events), PROT_READ | PROT_WRITE,
					  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int epoll = (int)SYS(epoll_create1(0));

	CHECK(events != MAP_FAILED);
	add(epoll, listens);
	while (!is_over) {
		long count = GIVEN(epoll_wait(epoll, events, EVENTS, 20), EVENTS);

		for (long i = 0; i < count; i++)
			event_serve(epoll, listens, &events[i], area);
	}
	return unused;
}

/*
 * Many requests on each connection, so that turns bring several events. Where it is about the backlog, the first takes no
 * replies until the end, and has no room for them. Else a lie about posts would hide backlogs, and have nobody collect them.
 */
static void *client(void *unused)
{
	struct area area = area_make();
	int fds[CLIENTS], little = 4096;

	while (!is_over) {
		for (int i = 0; i < CLIENTS; i++) {
			fds[i] = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			if (fds[i] > 20 && i == 0 && has_slow)
				setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
			if (fds[i] > 20)
				connect(fds[i], (struct sockaddr *)&address, sizeof(address));
		}
		for (int round = 0; round < 20 * CLIENTS && !is_over; round++) {
			struct pollfd polled = { fds[round % CLIENTS], POLLIN, 0 };

			bool is_slow = has_slow && round % CLIENTS == 0;
			size_t size = is_slow ? 3000 : 500;

			GIVEN(send(polled.fd, tail_of(&area, size), size, MSG_NOSIGNAL), size);
			if (is_slow && round < 15 * CLIENTS)
				continue;
			GIVEN(poll(&polled, 1, 10), 1);
			GIVEN(recv(polled.fd, tail_of(&area, 4000), 4000, 0), 4000);
		}
		for (int i = 0; i < CLIENTS; i++)
			close_any(fds[i]);
	}
	return unused;
}

static void on_signal(int number)
{
	(void)number;
	getppid();
}

/* Signals, and what makes the helper anew. */
static void disturb(const pthread_t *threads, int count)
{
	struct rlimit none = { 0, 0 };
	long end = now_ms() + RUN_MS;

	for (unsigned i = 0; now_ms() < end; i++) {
		sleep_ms(3);
		pthread_kill(threads[i % (unsigned)count], SIGUSR1);
		if (i % 64 == 50)
			setrlimit(RLIMIT_CORE, &none);
	}
}

static uint32_t kind_of(const char *name)
{
	for (uint32_t kind = 0; kind < LIE_COUNT; kind++)
		if (strcmp(lie_names[kind], name) == 0)
			return kind;
	fail(__FILE__, __LINE__, name, 0, EINVAL);
}

CASE(victim)
{
	void *(*const work[])(void *) = { pipes, files, server, client };
	pthread_t threads[4];
	uint32_t kind, told = 0;

	CHECK(case_argc == 3);
	alarm(600);	/* longer than the test waits, also on a machine that stands still at times */
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = on_signal }, NULL);
	kind = kind_of(case_argv[2]);
	has_slow = kind == LIE_NONE || strstr(case_argv[2], "backlog");
	GIVES(0, sched_getaffinity(0, sizeof(own_cores), &own_cores));
	for (int fd = 3; fd < 24; fd++)
		fcntl(1, F_DUPFD, 3);		/* what the host may make up is one of these */
	listens = listener(&address);		/* no copy: of what has two numbers, nothing is read ahead */
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, work[i], NULL) == 0);
	sleep_ms(WARM_MS);
	GIVES(0, syscall(SYS_read, RING_LIE_HANDLE, &kind, RING_LIE_ARM));
	disturb(threads, 4);
	SYS(syscall(SYS_read, RING_LIE_HANDLE, &told, RING_LIE_TOLD));
	is_over = 1;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cores_check();
	kind = LIE_NONE;
	GIVES(0, syscall(SYS_read, RING_LIE_HANDLE, &kind, RING_LIE_ARM));
	sleep_ms(5);			/* what is printed must be true */
	printf("told %u\n", told);
}
