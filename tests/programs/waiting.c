/*
 * waiting.c - poll, select and the descriptors made to be waited for: eventfd, signalfd, timerfd, inotify, pidfd.
 *
 * Owns: the cases for waiting without epoll. Must never: fail because a wait took longer than asked.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static volatile sig_atomic_t handled;

static void on_signal(int number)
{
	handled = number;
}

static void block(int number, sigset_t *before)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	GIVES(0, sigprocmask(SIG_BLOCK, &set, before));
}

CASE(poll_reports_each_descriptors_own_events)
{
	struct pollfd *items = guarded(4 * sizeof(*items));
	int pipe_fds[2], closed[2];

	GIVES(0, pipe(pipe_fds));
	GIVES(0, pipe(closed));
	GIVES(0, close(closed[1]));
	items[0] = (struct pollfd){ pipe_fds[0], POLLIN, -1 };
	items[1] = (struct pollfd){ pipe_fds[1], POLLOUT, -1 };
	items[2] = (struct pollfd){ -5, POLLIN, -1 };
	items[3] = (struct pollfd){ 900, POLLIN, -1 };
	GIVES(2, poll(items, 4, 1000));
	CHECK(items[0].revents == 0 && items[1].revents == POLLOUT);
	CHECK(items[2].revents == 0 && items[3].revents == POLLNVAL);
	items[3] = (struct pollfd){ closed[0], POLLIN, 0 };
	GIVES(1, write(pipe_fds[1], "x", 1));
	GIVES(3, poll(items, 4, 1000));
	CHECK(items[0].revents == POLLIN && items[3].revents == POLLHUP);
	GIVES(0, poll(NULL, 0, 10));
}

CASE(poll_takes_hundreds_of_descriptors)
{
	struct pollfd *items = guarded(500 * sizeof(*items));
	int pipe_fds[2];

	GIVES(0, pipe(pipe_fds));
	for (int i = 0; i < 500; i++)
		items[i] = (struct pollfd){ pipe_fds[i == 499], i == 499 ? POLLOUT : POLLIN, 0 };
	GIVES(1, poll(items, 500, 1000));
	CHECK(items[499].revents == POLLOUT && items[0].revents == 0);
}

CASE(select_rewrites_its_sets_and_time)
{
	fd_set *in = guarded(sizeof(*in)), *out = guarded(sizeof(*out));
	struct timeval *limit = guarded_copy(&(struct timeval){ 5, 0 }, sizeof(*limit));
	int pipe_fds[2];

	GIVES(0, pipe(pipe_fds));
	FD_ZERO(in);
	FD_ZERO(out);
	FD_SET(pipe_fds[0], in);
	FD_SET(pipe_fds[1], out);
	GIVES(1, select(pipe_fds[1] + 1, in, out, NULL, limit));
	CHECK(!FD_ISSET(pipe_fds[0], in) && FD_ISSET(pipe_fds[1], out));
	CHECK(limit->tv_sec < 5 || (limit->tv_sec == 5 && limit->tv_usec == 0));
	FD_SET(pipe_fds[0], in);
	GIVES(1, write(pipe_fds[1], "x", 1));
	GIVES(2, select(pipe_fds[1] + 1, in, out, NULL, NULL));
	*limit = (struct timeval){ 0, 30000 };
	FD_ZERO(in);
	GIVES(0, select(0, NULL, NULL, NULL, limit));
	CHECK(limit->tv_sec == 0 && limit->tv_usec == 0);
	FD_SET(60, in);
	FAILS(EBADF, select(61, in, NULL, NULL, limit));
	FAILS(EINVAL, select(-1, NULL, NULL, NULL, limit));
}

CASE(the_remaining_time_comes_back_in_whole_seconds_and_the_rest)
{
	struct timeval *micro = guarded_copy(&(struct timeval){ 0, 2500000 }, sizeof(*micro));
	struct timespec *nano = guarded_copy(&(struct timespec){ 5, 0 }, sizeof(*nano));
	struct pollfd *polled = guarded_copy(&(struct pollfd){ (int)SYS(open("/dev/zero", O_RDONLY)), POLLIN, 0 },
					     sizeof(*polled));
	uint64_t *set = guarded(8);

	*set = 1ul << polled->fd;
	GIVES(1, syscall(SYS_select, polled->fd + 1, set, NULL, NULL, micro));
	CHECK(micro->tv_sec == 2 && micro->tv_usec > 0 && micro->tv_usec <= 500000);
	GIVES(1, syscall(SYS_ppoll, polled, 1, nano, NULL, 8));
	CHECK(nano->tv_sec == 4 && nano->tv_nsec > 0);
	*micro = (struct timeval){ 0, 0 };
	GIVES(1, syscall(SYS_select, polled->fd + 1, set, NULL, NULL, micro));
	CHECK(micro->tv_sec == 0 && micro->tv_usec == 0);
	GIVES(0, syscall(SYS_select, 0, NULL, NULL, NULL, micro));
}

CASE(ppoll_and_pselect_unblock_signals_only_while_waiting)
{
	sigset_t before, *mask;
	struct timespec limit = { 5, 0 };

	signal(SIGUSR1, on_signal);
	block(SIGUSR1, &before);
	mask = guarded_copy(&before, sizeof(before));
	GIVES(0, raise(SIGUSR1));
	CHECK(handled == 0);
	FAILS(EINTR, ppoll(NULL, 0, guarded_copy(&limit, sizeof(limit)), mask));
	CHECK(handled == SIGUSR1);
	handled = 0;
	GIVES(0, raise(SIGUSR1));
	GIVES(0, poll(NULL, 0, 10));
	CHECK(handled == 0);
	FAILS(EINTR, pselect(0, NULL, NULL, NULL, &limit, mask));
	CHECK(handled == SIGUSR1);
	handled = 0;
	GIVES(0, raise(SIGUSR1));
	GIVES(0, poll(NULL, 0, 10));
	CHECK(handled == 0);
}

CASE(a_ready_descriptor_wins_over_the_mask_of_ppoll)
{
	sigset_t before;
	struct pollfd item;
	int pipe_fds[2];

	GIVES(0, pipe(pipe_fds));
	block(SIGUSR1, &before);
	item = (struct pollfd){ pipe_fds[1], POLLOUT, 0 };
	GIVES(1, ppoll(&item, 1, NULL, &before));
	FAILS(EINVAL, ppoll(&item, 1, &(struct timespec){ -1, 0 }, NULL));
	FAILS(EINVAL, syscall(SYS_ppoll, &item, 1, NULL, &before, 3));
}

CASE(an_eventfd_counts_and_a_semaphore_gives_ones)
{
	uint64_t *value = guarded_copy(&(uint64_t){ 5 }, 8);
	int fd = (int)SYS(eventfd(3, EFD_NONBLOCK));
	int semaphore = (int)SYS(eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE));

	GIVES(8, write(fd, value, 8));
	GIVES(8, read(fd, value, 8));
	CHECK(*value == 8);
	FAILS(EAGAIN, read(fd, value, 8));
	FAILS(EINVAL, read(fd, (char *)value + 4, 4));
	GIVES(8, read(semaphore, value, 8));
	CHECK(*value == 1);
	GIVES(8, read(semaphore, value, 8));
	FAILS(EAGAIN, read(semaphore, value, 8));
	*value = UINT64_MAX;
	FAILS(EINVAL, write(fd, value, 8));
	*value = UINT64_MAX - 1;
	GIVES(8, write(fd, value, 8));
	FAILS(EAGAIN, write(fd, &(uint64_t){ 1 }, 8));
}

static void *post_later(void *argument)
{
	uint64_t one = 1;

	sleep_ms(50);
	GIVES(8, write(*(int *)argument, &one, 8));
	return NULL;
}

CASE(a_thread_wakes_another_by_eventfd)
{
	int fd = (int)SYS(eventfd(0, 0));
	pthread_t thread;
	uint64_t value;

	GIVES(0, pthread_create(&thread, NULL, post_later, &fd));
	GIVES(8, read(fd, &value, 8));
	CHECK(value == 1);
	GIVES(0, pthread_join(thread, NULL));
}

CASE(a_signalfd_reads_signals_with_their_sender)
{
	struct signalfd_siginfo *info = guarded(sizeof(*info));
	sigset_t set;
	int fd;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	GIVES(0, sigprocmask(SIG_BLOCK, &set, NULL));
	fd = (int)SYS(signalfd(-1, guarded_copy(&set, sizeof(set)), SFD_NONBLOCK));
	FAILS(EAGAIN, read(fd, info, sizeof(*info)));
	GIVES(0, kill(getpid(), SIGUSR1));
	GIVES(sizeof(*info), read(fd, info, sizeof(*info)));
	CHECK(info->ssi_signo == SIGUSR1 && info->ssi_pid == (uint32_t)getpid() && info->ssi_uid == getuid());
	child = fork();
	if (child == 0)
		_exit(kill(getppid(), SIGUSR1) != 0);
	GIVES(0, exit_status(child));
	GIVES(1, poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 2000));
	GIVES(sizeof(*info), read(fd, info, sizeof(*info)));
	CHECK(info->ssi_pid == (uint32_t)child);
}

CASE(a_timerfd_expires_once_and_repeatedly)
{
	struct itimerspec *time = guarded_copy(&(struct itimerspec){ { 0, 20000000 }, { 0, 10000000 } }, sizeof(*time));
	uint64_t *count = guarded(8);
	int fd = (int)SYS(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));

	GIVES(0, timerfd_settime(fd, 0, time, NULL));
	GIVES(8, read(fd, count, 8));
	CHECK(*count >= 1);
	sleep_ms(70);
	GIVES(8, read(fd, count, 8));
	CHECK(*count >= 2);
	GIVES(0, timerfd_gettime(fd, time));
	CHECK(time->it_interval.tv_nsec == 20000000);
	*time = (struct itimerspec){ 0 };
	GIVES(0, timerfd_settime(fd, 0, time, time));
	CHECK(time->it_interval.tv_nsec == 20000000);
	GIVES(0, fcntl(fd, F_SETFL, O_NONBLOCK));
	FAILS(EAGAIN, read(fd, count, 8));
}

CASE(inotify_names_what_happened)
{
	struct inotify_event *event = guarded(4096);
	int fd = (int)SYS(inotify_init1(IN_NONBLOCK));
	int watch;

	GIVES(0, mkdir("dir", 0700));
	watch = (int)SYS(inotify_add_watch(fd, guarded_string("dir"), IN_CREATE | IN_DELETE));
	FAILS(EAGAIN, read(fd, event, 4096));
	close((int)SYS(open("dir/born", O_CREAT | O_WRONLY, 0600)));
	CHECK(SYS(read(fd, event, 4096)) >= (long)sizeof(*event));
	CHECK(event->wd == watch && event->mask == IN_CREATE && strcmp(event->name, "born") == 0);
	GIVES(0, unlink("dir/born"));
	FAILS(EINVAL, read(fd, (char *)event + 4090, 6));
	CHECK(SYS(read(fd, event, 4096)) > 0 && event->mask == IN_DELETE);
	GIVES(0, inotify_rm_watch(fd, watch));
	FAILS(EINVAL, inotify_rm_watch(fd, watch));
}

CASE(a_pidfd_becomes_readable_when_the_process_ends)
{
	pid_t child = fork();
	int fd;

	if (child == 0) {
		sleep_ms(50);
		_exit(4);
	}
	fd = (int)SYS(syscall(SYS_pidfd_open, child, 0));
	GIVES(0, poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 0));
	GIVES(0, syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	GIVES(1, poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 5000));
	GIVES(4, exit_status(child));
	FAILS(ESRCH, syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
}

CASE(clocks_and_sleeps_agree)
{
	struct timespec *now = guarded(sizeof(*now)), *left = guarded(sizeof(*left));
	long start = now_ms();

	GIVES(0, clock_nanosleep(CLOCK_MONOTONIC, 0, guarded_copy(&(struct timespec){ 0, 30000000 }, 16), left));
	CHECK(now_ms() - start >= 29);
	GIVES(0, syscall(SYS_clock_gettime, CLOCK_REALTIME, now));
	CHECK(now->tv_sec > 1700000000 && labs(now->tv_sec - time(NULL)) <= 1);
	GIVES(0, clock_gettime(CLOCK_PROCESS_CPUTIME_ID, now));
	GIVES(0, clock_gettime(CLOCK_THREAD_CPUTIME_ID, now));
	FAILS(EINVAL, nanosleep(guarded_copy(&(struct timespec){ 0, 1000000000 }, 16), NULL));
	now->tv_sec = now_ms() / 1000 - 1;
	GIVES(0, clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, now, NULL));
}
