/*
 * execs.c - exec in all its forms: arguments, environments, scripts, descriptors, refusals, /proc/self.
 *
 * Owns: the cases for what a new program image sees. Must never: assume the environment it was itself started with.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <limits.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

extern char **environ;

static char self_path[PATH_MAX];

static const char *self(void)
{
	if (self_path[0] == 0)
		CHECK(SYS(readlink("/proc/self/exe", self_path, sizeof(self_path) - 1)) > 0);
	return self_path;
}

/* Runs `role` of this program in a child with that environment and returns its status. */
static int run_role(const char *role, char **environment)
{
	char *arguments[] = { "own-name", (char *)role, "third argument", "", NULL };
	pid_t child = fork();

	if (child == 0) {
		execve(self(), arguments, environment);
		_exit(99);
	}
	return exit_status(child);
}

static int environment_count(void)
{
	int count = 0;

	while (environ[count] != NULL)
		count++;
	return count;
}

ROLE(role_arguments)
{
	CHECK(case_argc == 4 && strcmp(case_argv[0], "own-name") == 0 && case_argv[4] == NULL);
	CHECK(strcmp(case_argv[2], "third argument") == 0 && case_argv[3][0] == 0);
}

CASE(arguments_arrive_as_given)
{
	GIVES(0, run_role("role_arguments", environ));
}

ROLE(role_no_environment)
{
	CHECK(environment_count() == 0 && getenv("LD_PRELOAD") == NULL);
	GIVES(0, run_role("role_arguments", environ));
}

CASE(an_empty_environment_stays_empty)
{
	char *none[] = { NULL };

	GIVES(0, run_role("role_no_environment", none));
	GIVES(0, run_role("role_no_environment", NULL));
}

ROLE(role_three_variables)
{
	char buffer[256] = { 0 };
	int fd = (int)SYS(open("/proc/self/environ", O_RDONLY));

	CHECK(environment_count() == 3 && strcmp(environ[0], "B=2") == 0 && strcmp(environ[1], "A=1") == 0);
	CHECK(strcmp(environ[2], "EMPTY=") == 0);
	CHECK(SYS(read(fd, buffer, sizeof(buffer))) >= 15);
	CHECK(memcmp(buffer, "B=2\0A=1\0EMPTY=\0", 15) == 0);
	execl("/bin/sh", "sh", "-c", "test \"$A$B\" = 12 && test -z \"$LD_PRELOAD$SCONE_SHIM\"", NULL);
}

CASE(a_rewritten_environment_arrives_in_order)
{
	char *three[] = { "B=2", "A=1", "EMPTY=", NULL };

	GIVES(0, run_role("role_three_variables", three));
}

ROLE(role_environ_bytes)
{
	static char want[1 << 16], got[1 << 16];
	size_t size = 0;
	int fd = (int)SYS(open("/proc/self/environ", O_RDONLY));

	for (int i = 0; environ[i] != NULL; i++)
		size += (size_t)(stpcpy(want + size, environ[i]) - (want + size)) + 1;
	GIVES(size, read(fd, got, sizeof(got)));
	CHECK(memcmp(want, got, size) == 0);
	CHECK(memmem(got, size, "SCONE_SHIM", 10) == NULL);
}

CASE(proc_self_environ_equals_environ)
{
	char *few[] = { "ONE=1", "TWO=2", NULL };

	GIVES(0, run_role("role_environ_bytes", few));
	GIVES(0, run_role("role_environ_bytes", environ));
}

ROLE(role_user_preload)
{
	CHECK(getenv("LD_PRELOAD") != NULL && strcmp(getenv("LD_PRELOAD"), "libm.so.6") == 0);
	CHECK(environment_count() == 1);
}

CASE(a_users_own_ld_preload_is_kept)
{
	char *one[] = { "LD_PRELOAD=libm.so.6", NULL };

	GIVES(0, run_role("role_user_preload", one));
}

ROLE(role_big_environment)
{
	CHECK(environment_count() == 2000 && strlen(environ[1999]) > 50);
}

CASE(an_environment_of_2000_variables_passes)
{
	static char *many[2001];

	for (int i = 0; i < 2000; i++)
		CHECK(asprintf(&many[i], "VARIABLE_%d=%060d", i, i) > 0);
	GIVES(0, run_role("role_big_environment", many));
}

CASE(refused_execs_return_and_the_program_goes_on)
{
	char *arguments[] = { "x", NULL };
	static char *endless[200];
	static char big[130000];

	FAILS(ENOENT, execve("/no/such/file", arguments, environ));
	FAILS(EACCES, execve("/etc/passwd", arguments, environ));
	FAILS(EACCES, execve("/", arguments, environ));
	FAILS(ENOTDIR, execve("/etc/passwd/x", arguments, environ));
	FAILS(ENOENT, execve("", arguments, environ));
	close(file_of("text", "this is no program\n", 19));
	GIVES(0, chmod("text", 0755));
	FAILS(ENOEXEC, execve("text", arguments, environ));
	close(file_of("orphan-script", "#!/no/such/interpreter\n", 23));
	GIVES(0, chmod("orphan-script", 0755));
	FAILS(ENOENT, execve("orphan-script", arguments, environ));
	memset(big, 'e', sizeof(big) - 1);
	for (int i = 0; i < 199; i++)
		endless[i] = big;
	FAILS(E2BIG, execve("/bin/true", endless, environ));
	FAILS(E2BIG, execve("/bin/true", arguments, endless));
	GIVES(0, run_role("role_arguments", environ));
}

CASE(scripts_run_by_their_interpreter)
{
	const char *script = "#!/bin/sh -e\ntest \"$1\" = \"a b\" && exit 14\n";
	const char *chain = "#!./first\n";
	char *arguments[] = { "script", "a b", NULL };
	pid_t child;

	close(file_of("first", script, strlen(script)));
	close(file_of("second", chain, strlen(chain)));
	GIVES(0, chmod("first", 0755));
	GIVES(0, chmod("second", 0755));
	child = fork();
	if (child == 0) {
		execve("first", arguments, environ);
		_exit(1);
	}
	GIVES(14, exit_status(child));
	child = fork();
	if (child == 0) {
		execve("./second", (char *[]){ "second", NULL }, environ);
		_exit(1);
	}
	CHECK(exit_status(child) != 14);
}

static void script(const char *name, const char *line, size_t size)
{
	close(file_of(name, line, size));
	GIVES(0, chmod(name, 0755));
}

CASE(bad_script_lines_fail_with_the_kernels_errors)
{
	char *arguments[] = { "x", NULL }, name[8], line[16], cut[400] = "#!/bin/";
	pid_t child;

	script("empty", "#!\n", 3);
	FAILS(ENOEXEC, execve("empty", arguments, environ));
	memset(cut + 7, '/', sizeof(cut) - 7);
	script("cut", cut, sizeof(cut));
	FAILS(ENOEXEC, execve("cut", arguments, environ));
	script("nothing", "#!\0/bin/true\n", 13);
	FAILS(EACCES, execve("nothing", arguments, environ));
	script("dos", "#!/bin/true\r\n", 13);
	FAILS(ENOENT, execve("dos", arguments, environ));
	script("s0", "#!/bin/true\n", 12);
	for (int i = 1; i < 6; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		script(name, line, (size_t)snprintf(line, sizeof(line), "#!./s%d\n", i - 1));
	}
	FAILS(ELOOP, execve("s5", arguments, environ));
	child = fork();
	if (child == 0) {
		execve("s4", arguments, environ);
		_exit(1);
	}
	GIVES(0, exit_status(child));
}

CASE(a_file_without_magic_runs_by_execvp_as_a_script)
{
	pid_t child;

	close(file_of("plain", "exit 15\n", 8));
	GIVES(0, chmod("plain", 0755));
	child = fork();
	if (child == 0) {
		execlp("./plain", "plain", NULL);
		_exit(1);
	}
	GIVES(15, exit_status(child));
}

CASE(programs_run_from_descriptors)
{
	int fd = (int)SYS(open(self(), O_RDONLY | O_CLOEXEC));
	char *arguments[] = { "own-name", "role_arguments", "third argument", "", NULL };
	pid_t child = fork();

	if (child == 0) {
		fexecve(fd, arguments, environ);
		_exit(1);
	}
	GIVES(0, exit_status(child));
	child = fork();
	if (child == 0) {
		int directory = (int)SYS(open("/bin", O_PATH | O_DIRECTORY));

		syscall(SYS_execveat, directory, "true", (char *[]){ "true", NULL }, environ, 0);
		_exit(1);
	}
	GIVES(0, exit_status(child));
}

CASE(a_program_in_a_memory_file_runs)
{
	static char block[1 << 16];
	int from = (int)SYS(open(self(), O_RDONLY));
	int fd = (int)SYS(memfd_create("program", MFD_CLOEXEC));
	char *arguments[] = { "own-name", "role_arguments", "third argument", "", NULL };
	pid_t child;
	long got;

	while ((got = SYS(read(from, block, sizeof(block)))) > 0)
		GIVES(got, write(fd, block, (size_t)got));
	child = fork();
	if (child == 0) {
		fexecve(fd, arguments, environ);
		_exit(1);
	}
	GIVES(0, exit_status(child));
}

ROLE(role_descriptors)
{
	char byte = 0;

	CHECK(fcntl(20, F_GETFD) == 0 && fcntl(21, F_GETFD) == -1 && errno == EBADF);
	GIVES(1, read(20, &byte, 1));
	CHECK(byte == 'q');
	for (int fd = 3; fd < 2000; fd++)
		CHECK(fd == 20 || fcntl(fd, F_GETFD) == -1);
}

CASE(close_on_exec_descriptors_are_gone_and_the_others_stay)
{
	int fds[2];

	GIVES(0, close_range(3, ~0U, 0));
	GIVES(0, pipe2(fds, O_CLOEXEC));
	GIVES(1, write(fds[1], "q", 1));
	GIVES(20, dup2(fds[0], 20));
	GIVES(21, dup3(fds[0], 21, O_CLOEXEC));
	GIVES(0, run_role("role_descriptors", environ));
}

ROLE(role_wait_for_close)
{
	char byte;

	_exit((int)read(atoi(getenv("PIPE")), &byte, 1));
}

CASE(a_pipe_ends_when_the_writer_execs_with_close_on_exec)
{
	char variable[32], byte, *one[] = { variable, NULL };
	int fds[2], other[2];
	pid_t child;

	GIVES(0, pipe2(fds, O_CLOEXEC));
	GIVES(0, pipe(other));
	snprintf(variable, sizeof(variable), "PIPE=%d", other[0]);
	child = fork();
	if (child == 0) {
		close(other[1]);
		execve(self(), (char *[]){ "x", "role_wait_for_close", NULL }, one);
		_exit(1);
	}
	GIVES(0, close(fds[1]));
	GIVES(0, read(fds[0], &byte, 1));
	GIVES(0, close(other[1]));
	GIVES(0, exit_status(child));
}

ROLE(role_names)
{
	char name[16] = "", line[300] = "", want[] = "own-name\0role_names\0third argument\0";
	int fd = (int)SYS(open("/proc/self/cmdline", O_RDONLY));

	GIVES(sizeof(want), read(fd, line, sizeof(line)));
	CHECK(memcmp(line, want, sizeof(want)) == 0);
	GIVES(0, prctl(PR_GET_NAME, name));
	CHECK(strncmp(strrchr(self(), '/') + 1, name, strlen(name)) == 0);
	fd = (int)SYS(open("/proc/self/comm", O_RDONLY));
	CHECK(SYS(read(fd, line, sizeof(line))) == (long)strlen(name) + 1 && strncmp(line, name, strlen(name)) == 0);
	CHECK(strstr((char *)getauxval(AT_EXECFN), strrchr(self(), '/')) != NULL);
}

CASE(the_new_program_knows_its_names)
{
	GIVES(0, run_role("role_names", environ));
}

CASE(every_way_to_name_oneself_gives_the_same_program)
{
	char path[64], target[PATH_MAX] = "";
	struct stat by_name, by_proc;

	GIVES(0, stat(self(), &by_name));
	GIVES(0, stat("/proc/self/exe", &by_proc));
	CHECK(by_name.st_ino == by_proc.st_ino);
	snprintf(path, sizeof(path), "/proc/%d/exe", getpid());
	SYS(readlink(path, target, sizeof(target) - 1));
	CHECK(strcmp(target, self()) == 0);
	memset(target, 0, sizeof(target));
	SYS(readlink("/proc/self", target, sizeof(target) - 1));
	CHECK(atoi(target) == getpid());
	memset(target, 0, sizeof(target));
	SYS(readlinkat((int)SYS(open("/proc/self", O_PATH)), "exe", target, sizeof(target) - 1));
	CHECK(strcmp(target, self()) == 0);
	memset(target, 0, sizeof(target));
	SYS(readlink("/proc/thread-self", target, sizeof(target) - 1));
	CHECK(atoi(target) == getpid() && atoi(strrchr(target, '/') + 1) == (int)syscall(SYS_gettid));
}

CASE(proc_self_stat_describes_this_process)
{
	char line[1024] = "";
	int pid = 0, parent = 0;
	FILE *file = fopen("/proc/self/stat", "r");

	CHECK(file != NULL && fgets(line, sizeof(line), file) != NULL);
	CHECK(sscanf(line, "%d", &pid) == 1 && pid == getpid());
	CHECK(sscanf(strrchr(line, ')') + 3, "%*c %d", &parent) != 2 || parent == getppid());
	file = fopen("/proc/thread-self/status", "r");
	CHECK(file != NULL);
	while (fgets(line, sizeof(line), file) != NULL)
		CHECK(sscanf(line, "Pid: %d", &pid) != 1 || pid == (int)syscall(SYS_gettid));
}

CASE(a_long_chain_of_execs_works)
{
	pid_t child = fork();

	if (child == 0) {
		setenv("LEFT", "10", 1);
		execl(self(), "x", "role_chain", NULL);
	}
	GIVES(17, exit_status(child));
}

ROLE(role_chain)
{
	char left[16];

	if (atoi(getenv("LEFT")) == 0)
		_exit(17);
	snprintf(left, sizeof(left), "%d", atoi(getenv("LEFT")) - 1);
	setenv("LEFT", left, 1);
	execl(self(), "x", "role_chain", NULL);
}
