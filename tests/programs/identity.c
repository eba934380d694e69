/*
 * identity.c - users, groups, capabilities, roots, terminals, limits of the whole process.
 *
 * Owns: the cases whose outcome depends on who the process is; the CASE_ROOT ones change it and need root for that.
 * Must never: change anything outside its own process. Run by: test_programs.py, native and wrapped.
 */
#include "guard.h"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <termios.h>

enum { NOBODY = 65534 };

static void need_root(void)
{
	if (geteuid() != 0)
		skip("only root can change its identity");
}

CASE(ids_agree_with_each_other_and_with_proc)
{
	uid_t real, effective, saved;
	int in_proc = -1;
	char line[256];
	FILE *status = fopen("/proc/self/status", "r");

	GIVES(0, getresuid(&real, &effective, &saved));
	CHECK(real == getuid() && effective == geteuid());
	CHECK(status != NULL);
	while (fgets(line, sizeof(line), status) != NULL)
		(void)sscanf(line, "Uid:\t%d", &in_proc);
	CHECK(in_proc == (int)getuid());
	CHECK(getgroups(0, NULL) >= 0);
}

CASE_ROOT(after_setuid_files_of_root_are_refused)
{
	int fd;

	need_root();
	fd = file_of("secret", "s", 1);
	GIVES(0, fchmod(fd, 0600));
	GIVES(0, chmod(".", 0755));
	GIVES(0, setgroups(0, NULL));
	GIVES(0, setgid(NOBODY));
	GIVES(0, setuid(NOBODY));
	CHECK(getuid() == NOBODY && geteuid() == NOBODY && getegid() == NOBODY);
	FAILS(EACCES, open("secret", O_RDONLY));
	FAILS(EACCES, open("new-file", O_CREAT | O_WRONLY, 0600));
	FAILS(EPERM, chown("secret", NOBODY, NOBODY));
	FAILS(EPERM, setuid(0));
	FAILS(EPERM, kill(1, SIGTERM));
	GIVES(1, pread(fd, &(char){ 0 }, 1, 0));
	GIVES(0, exit_status(fork() ?: (_exit(open("secret", O_RDONLY) == -1 && errno == EACCES ? 0 : 1), 0)));
}

CASE_ROOT(an_effective_id_can_go_and_come_back)
{
	need_root();
	close(file_of("secret", "s", 1));
	GIVES(0, chmod("secret", 0600));
	GIVES(0, chmod(".", 0755));
	for (int i = 0; i < 5; i++) {
		GIVES(0, seteuid(NOBODY));
		FAILS(EACCES, open("secret", O_RDONLY));
		GIVES(0, seteuid(0));
		GIVES(0, close((int)SYS(open("secret", O_RDONLY))));
	}
	GIVES(0, setresuid(NOBODY, NOBODY, 0));
	FAILS(EACCES, open("secret", O_RDONLY));
	GIVES(0, setresuid(0, 0, 0));
}

CASE_ROOT(files_belong_to_the_id_of_the_moment)
{
	struct stat st;

	need_root();
	GIVES(0, chmod(".", 0777));
	GIVES(0, setegid(NOBODY));
	GIVES(0, seteuid(NOBODY));
	close(file_of("mine", "m", 1));
	GIVES(0, stat("mine", &st));
	CHECK(st.st_uid == NOBODY && st.st_gid == NOBODY);
}

static void *drop_in_thread(void *argument)
{
	GIVES(0, setuid(NOBODY));
	return argument;
}

CASE_ROOT(setuid_in_one_thread_changes_all)
{
	pthread_t thread;

	need_root();
	GIVES(0, pthread_create(&thread, NULL, drop_in_thread, NULL));
	GIVES(0, pthread_join(thread, NULL));
	CHECK(geteuid() == NOBODY);
	FAILS(EACCES, open("/etc/shadow", O_RDONLY));
}

CASE_ROOT(chroot_moves_the_root_of_every_path)
{
	int fd;

	need_root();
	GIVES(0, mkdir("jail", 0755));
	close(file_of("jail/inside", "in", 2));
	GIVES(0, chroot("jail"));
	GIVES(0, chdir("/"));
	fd = (int)SYS(open("/inside", O_RDONLY));
	GIVES(2, read(fd, (char[2]){ 0 }, 2));
	FAILS(ENOENT, open("/etc/passwd", O_RDONLY));
	FAILS(ENOENT, open("/../../etc/passwd", O_RDONLY));
	FAILS(ENOENT, open("/proc/self/status", O_RDONLY));
	GIVES(0, exit_status(fork() ?: (_exit(access("/inside", F_OK) == 0 ? 0 : 1), 0)));
}

CASE_ROOT(dropped_capabilities_are_gone_for_files_too)
{
	struct { uint32_t version; int pid; } header = { 0x20080522, 0 };
	uint32_t none[6] = { 0 };

	need_root();
	close(file_of("locked", "x", 1));
	GIVES(0, chown("locked", NOBODY, NOBODY));
	GIVES(0, chmod("locked", 0));
	GIVES(0, close((int)SYS(open("locked", O_RDONLY))));
	GIVES(0, syscall(SYS_capset, guarded_copy(&header, sizeof(header)), guarded_copy(none, sizeof(none))));
	FAILS(EACCES, open("locked", O_RDONLY));
	FAILS(EPERM, chroot("."));
}

CASE_ROOT(an_unshared_mount_or_net_namespace_applies_to_every_call)
{
	int before, after;
	char name[64] = "", other[64] = "";

	need_root();
	if (unshare(CLONE_NEWUTS) != 0)
		skip("this kernel does not let us unshare");
	GIVES(0, gethostname(name, sizeof(name)));
	GIVES(0, sethostname("shim-test", 9));
	GIVES(0, gethostname(other, sizeof(other)));
	CHECK(strcmp(other, "shim-test") == 0);
	GIVES(0, unshare(CLONE_NEWNS | CLONE_FS));
	before = access("/etc/passwd", F_OK);
	after = access("/proc/self/status", F_OK);
	CHECK(before == 0 && after == 0);
}

CASE(no_new_privileges_stay_set)
{
	GIVES(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	GIVES(1, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	GIVES(0, exit_status(fork() ?: (_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 1), 0)));
}

CASE(the_process_can_not_be_traced_by_surprise)
{
	char line[256];
	int tracer = -1;
	FILE *status = fopen("/proc/self/status", "r");

	CHECK(status != NULL);
	while (fgets(line, sizeof(line), status) != NULL)
		(void)sscanf(line, "TracerPid:\t%d", &tracer);
	CHECK(tracer == 0);
	GIVES(1, prctl(PR_GET_DUMPABLE));
}

CASE(names_and_numbers_of_the_system_pass_unchanged)
{
	struct utsname *name = guarded(sizeof(*name));
	struct sysinfo *info = guarded(sizeof(*info));
	cpu_set_t *cpus = guarded(sizeof(*cpus));
	unsigned cpu = 9999;

	GIVES(0, uname(name));
	CHECK(strcmp(name->sysname, "Linux") == 0 && strcmp(name->machine, "x86_64") == 0);
	GIVES(0, sysinfo(info));
	CHECK(info->totalram > 0 && info->mem_unit > 0);
	GIVES(0, sched_getaffinity(0, sizeof(*cpus), cpus));
	CHECK(CPU_COUNT(cpus) >= 1 && sysconf(_SC_NPROCESSORS_ONLN) >= CPU_COUNT(cpus));
	GIVES(0, syscall(SYS_getcpu, &cpu, NULL, NULL));
	CHECK(cpu < 4096);
	CHECK(sched_yield() == 0 && getpriority(PRIO_PROCESS, 0) >= -20);
}

CASE(random_bytes_fill_the_whole_buffer)
{
	static char first[100000];
	char *bytes = guarded(sizeof(first));
	int zeroes = 0;

	for (size_t have = 0; have < sizeof(first);)
		have += (size_t)SYS(getrandom(bytes + have, sizeof(first) - have, 0));
	GIVES(0, getentropy(first, 256));
	CHECK(memcmp(first, bytes, 256) != 0);
	for (size_t i = sizeof(first) - 1000; i < sizeof(first); i++)
		zeroes += bytes[i] == 0;
	CHECK(zeroes < 50);
	FAILS(EFAULT, getrandom(faulting(), 8, 0));
	FAILS(EINVAL, getrandom(bytes, 8, 0x80));
}

CASE(user_and_host_names_resolve_through_libc)
{
	struct passwd *user = getpwnam("root");
	struct group *group = getgrnam("root");

	CHECK(user != NULL && user->pw_uid == 0 && group != NULL && group->gr_gid == 0);
	CHECK(getpwnam("no-such-user-at-all") == NULL);
}

/* P6: /dev/tty and job control are the program's own. */
CASE(a_pseudo_terminal_becomes_the_childs_controlling_terminal)
{
	struct winsize size = { 24, 80, 0, 0 }, *got = guarded(sizeof(*got));
	int master = (int)SYS(posix_openpt(O_RDWR | O_NOCTTY));
	struct termios *terminal = guarded(sizeof(*terminal));
	char line[16] = "";
	pid_t child;

	GIVES(0, grantpt(master));
	GIVES(0, unlockpt(master));
	GIVES(0, ioctl(master, TIOCSWINSZ, guarded_copy(&size, sizeof(size))));
	child = fork();
	if (child == 0) {
		GIVES(getpid(), setsid());
		int slave = (int)SYS(open(ptsname(master), O_RDWR));

		CHECK(isatty(slave) && tcgetpgrp(slave) == getpid() && tcgetsid(slave) == getpid());
		GIVES(0, ioctl(slave, TIOCGWINSZ, got));
		CHECK(got->ws_row == 24 && got->ws_col == 80);
		GIVES(0, tcgetattr(slave, terminal));
		GIVES(5, write((int)SYS(open("/dev/tty", O_RDWR)), "tty!\n", 5));
		for (;;)
			pause();
	}
	for (size_t have = 0; have < 6;)
		have += (size_t)SYS(read(master, line + have, sizeof(line) - 1 - have));
	CHECK(strcmp(line, "tty!\r\n") == 0);
	GIVES(1, write(master, "\x03", 1));
	GIVES(SIGINT, death_signal(child));
}
