/*
 * pipes.c - pipes and FIFOs: ends, limits, atomic writes, blocking.
 *
 * Owns: the cases for byte streams between processes and threads. Must never: rely on timing to pass.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <limits.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

CASE(a_pipe_carries_bytes_and_ends_when_the_writer_closes)
{
	int fds[2];
	char *back = guarded(4);

	GIVES(0, pipe(guarded_copy(fds, sizeof(fds)) ? fds : fds));
	GIVES(4, write(fds[1], "abcd", 4));
	GIVES(0, close(fds[1]));
	GIVES(4, read(fds[0], back, 4));
	GIVES(0, read(fds[0], back, 4));
}

CASE(writing_to_a_pipe_without_reader_gives_epipe_when_sigpipe_is_ignored)
{
	int fds[2];

	signal(SIGPIPE, SIG_IGN);
	GIVES(0, pipe(fds));
	GIVES(0, close(fds[0]));
	FAILS(EPIPE, write(fds[1], "x", 1));
	FAILS(EPIPE, writev(fds[1], &(struct iovec){ "x", 1 }, 1));
}

CASE(writing_to_a_pipe_without_reader_kills_by_sigpipe)
{
	int fds[2];
	pid_t child;

	GIVES(0, pipe(fds));
	GIVES(0, close(fds[0]));
	child = fork();
	if (child == 0) {
		signal(SIGPIPE, SIG_DFL);
		(void)!write(fds[1], "x", 1);
		_exit(0);
	}
	GIVES(SIGPIPE, death_signal(child));
}

static volatile sig_atomic_t pipe_signals;

static void count_sigpipe(int number)
{
	pipe_signals += number == SIGPIPE;
}

CASE(a_sigpipe_handler_runs_before_write_returns)
{
	int fds[2];

	signal(SIGPIPE, count_sigpipe);
	GIVES(0, pipe(fds));
	GIVES(0, close(fds[0]));
	FAILS(EPIPE, write(fds[1], "x", 1));
	CHECK(pipe_signals == 1);
	FAILS(EPIPE, write(fds[1], "x", 1));
	CHECK(pipe_signals == 2);
}

CASE(a_nonblocking_pipe_fills_to_its_capacity_and_says_eagain)
{
	int fds[2], pending = 0;
	long total = 0, got;
	char block[1000];

	memset(block, 'b', sizeof(block));
	GIVES(0, pipe2(fds, O_NONBLOCK | O_CLOEXEC));
	FAILS(EAGAIN, read(fds[0], block, 1));
	while ((got = write(fds[1], block, sizeof(block))) > 0)
		total += got;
	CHECK(got == -1 && errno == EAGAIN && total >= 60000);
	GIVES(0, ioctl(fds[0], FIONREAD, &pending));
	CHECK(pending == total);
	while ((got = read(fds[0], block, sizeof(block))) > 0)
		total -= got;
	CHECK(total == 0);
	FAILS(EAGAIN, read(fds[0], block, 1));
}

enum { WRITERS = 4, RECORDS = 200 };

static void write_records(int fd, int id)
{
	char record[PIPE_BUF];

	memset(record, 'A' + id, sizeof(record));
	for (int i = 0; i < RECORDS; i++)
		GIVES(PIPE_BUF, write(fd, record, sizeof(record)));
}

static void read_exactly(int fd, char *bytes, size_t size)
{
	for (size_t have = 0; have < size;) {
		long got = SYS(read(fd, bytes + have, size - have));

		CHECK(got > 0);
		have += (size_t)got;
	}
}

CASE(writes_up_to_pipe_buf_are_atomic_between_processes)
{
	char *record = guarded(PIPE_BUF);
	int fds[2], counts[WRITERS] = { 0 };
	pid_t children[WRITERS];

	GIVES(0, pipe(fds));
	for (int i = 0; i < WRITERS; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			write_records(fds[1], i);
			_exit(0);
		}
	}
	for (int i = 0; i < WRITERS * RECORDS; i++) {
		read_exactly(fds[0], record, PIPE_BUF);
		for (int j = 1; j < PIPE_BUF; j++)
			CHECK(record[j] == record[0]);
		counts[record[0] - 'A']++;
	}
	for (int i = 0; i < WRITERS; i++) {
		CHECK(counts[i] == RECORDS);
		GIVES(0, exit_status(children[i]));
	}
}

CASE(a_blocked_reader_gets_what_a_child_writes_later)
{
	int fds[2];
	char *back = guarded(3);
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		sleep_ms(50);
		_exit(write(fds[1], "one", 3) != 3);
	}
	GIVES(3, read(fds[0], back, 3));
	CHECK(memcmp(back, "one", 3) == 0);
	GIVES(0, exit_status(child));
}

CASE(end_of_file_comes_only_when_the_last_writer_is_gone)
{
	int fds[2];
	char byte;
	long start = now_ms();
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		close(fds[0]);
		sleep_ms(150);
		_exit(0);
	}
	GIVES(0, close(fds[1]));
	GIVES(0, read(fds[0], &byte, 1));
	CHECK(now_ms() - start >= 140);
	GIVES(0, exit_status(child));
}

CASE(end_of_file_comes_at_once_when_the_writer_is_killed)
{
	int fds[2];
	char byte;
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		close(fds[0]);
		for (;;)
			pause();
	}
	GIVES(0, close(fds[1]));
	sleep_ms(30);
	GIVES(0, kill(child, SIGKILL));
	GIVES(0, read(fds[0], &byte, 1));
	GIVES(SIGKILL, death_signal(child));
}

enum { STREAM_SIZE = 8 << 20 };

static unsigned char stream_byte(size_t at)
{
	return (unsigned char)(at * 2654435761u >> 11);
}

static void *pour(void *argument)
{
	size_t at = 0;
	unsigned char block[10007];

	while (at < STREAM_SIZE) {
		size_t want = STREAM_SIZE - at < sizeof(block) ? STREAM_SIZE - at : sizeof(block);

		for (size_t i = 0; i < want; i++)
			block[i] = stream_byte(at + i);
		at += (size_t)SYS(write(*(int *)argument, block, want));
	}
	GIVES(0, close(*(int *)argument));
	return NULL;
}

CASE(eight_megabytes_pass_between_threads_unchanged)
{
	unsigned char *block = guarded(7919);
	size_t at = 0;
	pthread_t thread;
	int fds[2];
	long got;

	GIVES(0, pipe(fds));
	GIVES(0, pthread_create(&thread, NULL, pour, &fds[1]));
	while ((got = SYS(read(fds[0], block, 7919))) > 0)
		for (long i = 0; i < got; i++, at++)
			CHECK(block[i] == stream_byte(at));
	CHECK(at == STREAM_SIZE);
	GIVES(0, pthread_join(thread, NULL));
}

CASE(a_fifo_opens_when_both_ends_are_there)
{
	char *back = guarded(5);
	pid_t child;
	int fd;

	GIVES(0, mkfifo("fifo", 0600));
	FAILS(ENXIO, open("fifo", O_WRONLY | O_NONBLOCK));
	child = fork();
	if (child == 0) {
		fd = (int)SYS(open("fifo", O_WRONLY));
		_exit(write(fd, "hello", 5) != 5);
	}
	fd = (int)SYS(open("fifo", O_RDONLY));
	read_exactly(fd, back, 5);
	CHECK(memcmp(back, "hello", 5) == 0);
	GIVES(0, read(fd, back, 5));
	GIVES(0, exit_status(child));
}

CASE(a_packet_pipe_keeps_boundaries)
{
	char *back = guarded(10);
	int fds[2];

	GIVES(0, pipe2(fds, O_DIRECT));
	GIVES(3, write(fds[1], "abc", 3));
	GIVES(2, write(fds[1], "de", 2));
	GIVES(3, read(fds[0], back, 10));
	GIVES(2, read(fds[0], back, 10));
}

CASE(popen_reads_a_commands_output)
{
	char line[64] = "";
	FILE *command = popen("echo from the shell; exit 3", "r");

	CHECK(command != NULL && fgets(line, sizeof(line), command) != NULL);
	CHECK(strcmp(line, "from the shell\n") == 0);
	CHECK(WEXITSTATUS(pclose(command)) == 3);
}
