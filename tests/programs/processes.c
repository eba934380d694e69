/*
 * processes.c - fork, vfork, spawn, wait, sessions, what children inherit.
 *
 * Owns: the cases for process relations. Must never: leave a process behind. Run by: test_programs.py, native and
 * wrapped, with the same assertions.
 */
#include "guard.h"

#include <dirent.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/times.h>

extern char **environ;

CASE(a_forked_child_has_its_own_memory_and_the_same_files)
{
	int fds[2], value = 1;
	char *back = guarded(5);
	pid_t child, parent = getpid();

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		CHECK(getppid() == parent && getpid() != parent && getpid() == (pid_t)syscall(SYS_getpid));
		value = 2;
		GIVES(5, write(fds[1], "child", 5));
		_exit(value);
	}
	GIVES(5, read(fds[0], back, 5));
	GIVES(2, exit_status(child));
	CHECK(value == 1 && child > 0);
}

CASE(a_hundred_children_in_turn_leave_nothing)
{
	for (int i = 0; i < 100; i++) {
		pid_t child = fork();

		if (child == 0)
			_exit(i);
		GIVES(i, exit_status(child));
	}
	FAILS(ECHILD, wait(NULL));
}

CASE(children_of_children_work)
{
	int fds[2];
	char byte;
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		child = fork();
		if (child == 0) {
			child = fork();
			if (child == 0)
				_exit(write(fds[1], "3", 1) != 1);
			_exit(exit_status(child));
		}
		_exit(exit_status(child));
	}
	GIVES(0, exit_status(child));
	GIVES(1, read(fds[0], &byte, 1));
}

CASE(wait_statuses_tell_how_each_child_ended)
{
	struct rusage *usage = guarded(sizeof(*usage));
	siginfo_t *info = guarded(sizeof(*info));
	int *status = guarded(4);
	pid_t child = fork();

	if (child == 0)
		_exit(42);
	GIVES(0, waitid(P_PID, (id_t)child, info, WEXITED | WNOWAIT));
	CHECK(info->si_pid == child && info->si_code == CLD_EXITED && info->si_status == 42);
	GIVES(child, wait4(child, status, 0, usage));
	CHECK(WIFEXITED(*status) && WEXITSTATUS(*status) == 42 && usage->ru_maxrss > 0);
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	GIVES(0, waitpid(child, status, WNOHANG));
	GIVES(0, kill(child, SIGTERM));
	GIVES(0, waitid(P_ALL, 0, info, WEXITED));
	CHECK(info->si_code == CLD_KILLED && info->si_status == SIGTERM);
	FAILS(ECHILD, waitpid(child, status, 0));
	FAILS(EINVAL, waitpid(-1, status, 0x1000000));
}

/* P6: whatever the wrapper runs beside the program, no wait of any kind may find it. */
CASE(no_stranger_is_among_the_children_to_wait_for)
{
	pid_t child;

	FAILS(ECHILD, waitpid(-1, NULL, WNOHANG | __WALL));
	FAILS(ECHILD, waitpid(-1, NULL, WNOHANG | __WCLONE));
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	FAILS(EINVAL, waitpid(-1, NULL, 0x40));
	GIVES(0, waitpid(-1, NULL, WNOHANG | __WALL));
	GIVES(0, kill(child, SIGKILL));
	GIVES(child, waitpid(-1, NULL, __WALL));
	FAILS(ECHILD, waitpid(-1, NULL, __WALL));
	FAILS(ECHILD, waitpid(-1, NULL, __WCLONE));
}

CASE(no_stranger_is_in_the_list_of_children)
{
	char path[64], list[256] = "";
	long got;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	fd = open(path, O_RDONLY);
	if (fd < 0)
		skip("this kernel has no list of children");
	got = SYS(read(fd, list, sizeof(list) - 1));
	if (got != 0)
		dprintf(2, "children: %s\n", list);
	CHECK(got == 0);
}

CASE(a_vfork_child_that_exits_gives_its_status)
{
	for (volatile int i = 0; i < 50; i++) {
		pid_t child = vfork();

		if (child == 0)
			_exit(i);
		GIVES(i, exit_status(child));
	}
}

ROLE(role_exit_with)
{
	_exit(atoi(case_argv[2]));
}

CASE(a_vfork_child_that_execs_gives_its_status)
{
	volatile int shared = 0;

	for (volatile int i = 0; i < 10; i++) {
		pid_t child = vfork();

		if (child == 0) {
			shared = i + 1;
			execl("/proc/self/exe", case_argv[0], "role_exit_with", "21", NULL);
			_exit(1);
		}
		CHECK(shared == i + 1);
		GIVES(21, exit_status(child));
	}
}

CASE(a_vfork_child_makes_calls_of_its_own)
{
	int fds[2];
	char byte = 0;
	pid_t child;

	GIVES(0, pipe(fds));
	child = vfork();
	if (child == 0) {
		close(fds[0]);
		if (write(fds[1], "v", 1) != 1 || dup2(fds[1], 30) != 30 || chdir("/") != 0)
			_exit(1);
		_exit(getppid() == 0);
	}
	GIVES(1, read(fds[0], &byte, 1));
	GIVES(0, exit_status(child));
	CHECK(fcntl(30, F_GETFD) == -1 && access("role", F_OK) == -1);
	GIVES(0, close(fds[1]));
	GIVES(0, read(fds[0], &byte, 1));
}

CASE(a_failed_exec_after_vfork_is_reported_by_the_child)
{
	pid_t child = vfork();

	if (child == 0) {
		execl("/does/not/exist", "x", NULL);
		_exit(errno == ENOENT ? 77 : 1);
	}
	GIVES(77, exit_status(child));
}

CASE(spawned_programs_get_their_files_and_attributes)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	char *arguments[] = { "sh", "-c", "echo spawned; exit 6", NULL };
	char *back = guarded(8);
	int fds[2];
	pid_t child;

	GIVES(0, pipe2(fds, O_CLOEXEC));
	GIVES(0, posix_spawn_file_actions_init(&actions));
	GIVES(0, posix_spawn_file_actions_adddup2(&actions, fds[1], 1));
	GIVES(0, posix_spawnattr_init(&attributes));
	GIVES(0, posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP));
	GIVES(0, posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ));
	GIVES(6, exit_status(child));
	GIVES(0, close(fds[1]));
	GIVES(8, read(fds[0], back, 8));
	CHECK(memcmp(back, "spawned\n", 8) == 0);
	GIVES(ENOENT, posix_spawn(&child, "/no/such/program", NULL, NULL, arguments, environ));
	GIVES(ENOENT, posix_spawnp(&child, "no-such-program", NULL, NULL, arguments, environ));
	GIVES(EACCES, posix_spawn(&child, "/etc/passwd", NULL, NULL, arguments, environ));
	FAILS(ECHILD, wait(NULL));
}

CASE(system_and_shell_statuses_are_natural)
{
	CHECK(WEXITSTATUS(system("exit 9")) == 9);
	CHECK(WEXITSTATUS(system("no-such-command-here 2>/dev/null")) == 127);
	CHECK(WTERMSIG(system("kill -TERM $$")) == SIGTERM);
	CHECK(system(NULL) != 0);
}

static void read_line_of(int fd, char *line, size_t room)
{
	long got = SYS(read(fd, line, room - 1));

	line[got] = 0;
}

CASE(a_double_forked_child_is_adopted)
{
	char line[64];
	int fds[2];
	pid_t child;

	GIVES(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		pid_t middle = getpid();

		if (fork() == 0) {
			while (getppid() == middle)
				sleep_ms(1);
			dprintf(fds[1], "%d", getppid());
		}
		_exit(0);
	}
	GIVES(0, exit_status(child));
	read_line_of(fds[0], line, sizeof(line));
	CHECK(atoi(line) == getpid());
	GIVES(0, exit_status(-1));
	FAILS(ECHILD, wait(NULL));
}

CASE(a_daemon_lives_on_in_its_own_session)
{
	char line[64] = "";
	int fds[2], pid = 0, sid = 0, parent_sid = getsid(0);
	pid_t child;

	GIVES(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		GIVES(0, daemon(1, 0));
		sleep_ms(20);
		dprintf(fds[1], "%d %d", getpid(), getsid(0));
		_exit(12);
	}
	GIVES(0, exit_status(child));
	GIVES(0, close(fds[1]));
	read_line_of(fds[0], line, sizeof(line));
	CHECK(sscanf(line, "%d %d", &pid, &sid) == 2);
	CHECK(sid != parent_sid && sid == pid && pid != child);
	GIVES(12, exit_status(pid));
	GIVES(0, read(fds[0], line, 1));
}

CASE(setsid_and_process_groups_work_in_a_child)
{
	int fds[2];
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		GIVES(getpid(), setsid());
		CHECK(getsid(0) == getpid() && getpgrp() == getpid());
		FAILS(EPERM, setsid());
		GIVES(1, write(fds[1], "s", 1));
		_exit(0);
	}
	GIVES(0, exit_status(child));
	GIVES(1, read(fds[0], &(char){ 0 }, 1));
	child = fork();
	if (child == 0) {
		GIVES(0, setpgid(0, 0));
		CHECK(getpgid(0) == getpid());
		GIVES(1, write(fds[1], "g", 1));
		for (;;)
			pause();
	}
	GIVES(1, read(fds[0], &(char){ 0 }, 1));
	GIVES(0, kill(-child, SIGTERM));
	GIVES(SIGTERM, death_signal(child));
}

CASE(a_signal_to_the_group_reaches_each_member_once)
{
	int fds[2];
	char byte;
	pid_t child;

	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		pid_t members[3];

		GIVES(0, setpgid(0, 0));
		signal(SIGUSR1, SIG_IGN);
		for (int i = 0; i < 3; i++) {
			members[i] = fork();
			if (members[i] == 0) {
				signal(SIGUSR1, SIG_DFL);
				GIVES(1, write(fds[1], "m", 1));
				for (;;)
					pause();
			}
		}
		for (int i = 0; i < 3; i++)
			GIVES(1, read(fds[0], &byte, 1));
		GIVES(0, kill(0, SIGUSR1));
		for (int i = 0; i < 3; i++)
			GIVES(SIGUSR1, death_signal(members[i]));
		_exit(0);
	}
	GIVES(0, exit_status(child));
}

CASE(the_parents_death_signal_is_delivered)
{
	int fds[2];
	char byte;
	pid_t child;

	GIVES(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	GIVES(0, pipe(fds));
	child = fork();
	if (child == 0) {
		if (fork() == 0) {
			GIVES(0, prctl(PR_SET_PDEATHSIG, SIGTERM));
			GIVES(1, write(fds[1], "p", 1));
			for (;;)
				pause();
		}
		GIVES(1, read(fds[0], &byte, 1));
		_exit(0);
	}
	GIVES(0, exit_status(child));
	GIVES(SIGTERM, death_signal(-1));
}

CASE(children_inherit_umask_directory_and_limits)
{
	struct rlimit limit = { 100, 200 }, got;
	struct stat st;
	pid_t child;

	GIVES(0, mkdir("inner", 0755));
	GIVES(0, chdir("inner"));
	umask(077);
	GIVES(0, setrlimit(RLIMIT_NOFILE, &limit));
	child = fork();
	if (child == 0) {
		close((int)SYS(open("made", O_CREAT | O_WRONLY, 0666)));
		GIVES(0, getrlimit(RLIMIT_NOFILE, &got));
		CHECK(got.rlim_cur == 100 && got.rlim_max == 200);
		umask(0);
		GIVES(0, chdir(".."));
		_exit(0);
	}
	GIVES(0, exit_status(child));
	GIVES(0, stat("made", &st));
	CHECK((st.st_mode & 0777) == 0600);
	close((int)SYS(open("also", O_CREAT | O_WRONLY, 0666)));
	GIVES(0, stat("also", &st));
	CHECK((st.st_mode & 0777) == 0600);
	umask(022);
	close((int)SYS(open("third", O_CREAT | O_WRONLY, 0666)));
	GIVES(0, stat("third", &st));
	CHECK((st.st_mode & 0777) == 0644);
}

CASE(a_file_size_limit_sends_sigxfsz_or_gives_efbig)
{
	struct rlimit limit = { 1000, RLIM_INFINITY };
	static char block[2000];
	pid_t child = fork();
	int fd;

	if (child == 0) {
		struct rlimit no_core = { 0, 0 };

		GIVES(0, setrlimit(RLIMIT_CORE, &no_core));
		GIVES(0, setrlimit(RLIMIT_FSIZE, &limit));
		fd = (int)SYS(open("big", O_CREAT | O_WRONLY, 0600));
		GIVES(1000, write(fd, block, 2000));
		(void)!write(fd, block, 1);
		_exit(0);
	}
	GIVES(SIGXFSZ, death_signal(child));
	signal(SIGXFSZ, SIG_IGN);
	GIVES(0, setrlimit(RLIMIT_FSIZE, &limit));
	fd = (int)SYS(open("big2", O_CREAT | O_WRONLY, 0600));
	GIVES(1000, write(fd, block, 2000));
	FAILS(EFBIG, write(fd, block, 1));
	FAILS(EFBIG, ftruncate(fd, 5000));
}

CASE(usage_and_times_count_the_programs_own_work)
{
	struct rusage *usage = guarded(sizeof(*usage));
	struct tms *clocks = guarded(sizeof(*clocks));
	volatile uint64_t sink = 0;

	for (long start = now_ms(); now_ms() - start < 60;)
		for (int i = 0; i < 100000; i++)
			sink += (uint64_t)i;
	GIVES(0, getrusage(RUSAGE_SELF, usage));
	CHECK(usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec > 10000);
	GIVES(0, getrusage(RUSAGE_CHILDREN, usage));
	CHECK(usage->ru_utime.tv_sec == 0);
	CHECK(times(clocks) != (clock_t)-1 && clocks->tms_utime >= 1);
}

/* fork as the system call itself, with no libc between. */
CASE(bare_fork_and_clone_calls_make_processes)
{
	long child = syscall(SYS_fork);

	if (child == 0)
		syscall(SYS_exit_group, 31);
	GIVES(31, exit_status((pid_t)child));
	child = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		syscall(SYS_exit_group, 32);
	GIVES(32, exit_status((pid_t)child));
	struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls; } arguments = {
		.exit_signal = SIGCHLD,
	};
	child = syscall(SYS_clone3, guarded_copy(&arguments, sizeof(arguments)), sizeof(arguments));
	if (child == 0)
		syscall(SYS_exit_group, 33);
	GIVES(33, exit_status((pid_t)child));
	FAILS(EINVAL, syscall(SYS_clone3, &arguments, 8));
	FAILS(EINVAL, syscall(SYS_clone, CLONE_THREAD, NULL, NULL, NULL, NULL));
}
