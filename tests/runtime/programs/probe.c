/*
 * probe.c - makes the calls that its arguments name, and prints what each gave: `open /etc/passwd r: 0`, or an errno.
 *
 * Owns: one row in `probes` for each call. An argument is one call with its words: "rename /a /b". Must never: know
 * whether it runs wrapped, or under which policy. Used by: test_policies.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/openat2.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { WORDS_MAX = 8 };

extern char **environ;
static char *word[WORDS_MAX];
static int words;

static long done(long fd)
{
	if (fd >= 0)
		close((int)fd);
	return fd < 0 ? fd : 0;
}

/* r read, w write, c create, x exclusive, p path, n no link at the end, d directory, t temporary. */
static int flags_of(const char *letters)
{
	int flags = strchr(letters, 'w') ? O_WRONLY : O_RDONLY;

	for (; *letters; letters++)
		flags |= *letters == 'c' ? O_CREAT : *letters == 'x' ? O_CREAT | O_EXCL : *letters == 'p' ? O_PATH :
			 *letters == 'n' ? O_NOFOLLOW : *letters == 'd' ? O_DIRECTORY : *letters == 't' ? O_TMPFILE | O_WRONLY : 0;
	return flags;
}

static long p_open(void) { return done(syscall(SYS_open, word[1], flags_of(word[2]), 0600)); }
static long p_creat(void) { return done(syscall(SYS_creat, word[1], 0600)); }

static long p_openat(void)
{
	int directory = open(word[1], O_PATH | O_DIRECTORY);

	return directory < 0 ? -1 : done(openat(directory, word[2], flags_of(word[3]), 0600));
}

static long p_openat2(void)
{
	struct open_how how = { .flags = (uint64_t)flags_of(word[2]) };

	if (how.flags & O_CREAT)
		how.mode = 0600;
	return done(syscall(SYS_openat2, AT_FDCWD, word[1], &how, sizeof how));
}

/* A path of full length, relative to a directory that is deep as well. */
static long p_openlong(void)
{
	char path[PATH_MAX] = "";

	for (int i = 0; i < 2000; i++)
		strcat(path, "./");
	return chdir(word[1]) < 0 ? -1 : done(open(strcat(path, word[2]), O_RDONLY));
}

static long p_stat(void) { struct stat status; return syscall(SYS_stat, word[1], &status); }
static long p_lstat(void) { struct stat status; return syscall(SYS_lstat, word[1], &status); }
static long p_statx(void) { struct statx status; return statx(AT_FDCWD, word[1], 0, STATX_ALL, &status); }
static long p_access(void) { return syscall(SYS_access, word[1], R_OK); }
static long p_chdir(void) { return chdir(word[1]); }
static long p_unlink(void) { return unlink(word[1]); }
static long p_mkdir(void) { return mkdir(word[1], 0700); }
static long p_rmdir(void) { return rmdir(word[1]); }
static long p_truncate(void) { return truncate(word[1], 0); }
static long p_chmod(void) { return chmod(word[1], 0644); }
static long p_rename(void) { return rename(word[1], word[2]); }
static long p_renameat2(void) { return renameat2(AT_FDCWD, word[1], AT_FDCWD, word[2], RENAME_EXCHANGE); }
static long p_link(void) { return link(word[1], word[2]); }
static long p_linkat(void) { return linkat(AT_FDCWD, word[1], AT_FDCWD, word[2], AT_SYMLINK_FOLLOW); }
static long p_symlink(void) { return symlink(word[1], word[2]); }
static long p_symlinkat(void) { return symlinkat(word[1], AT_FDCWD, word[2]); }
static long p_readlink(void) { char path[PATH_MAX]; return readlink(word[1], path, sizeof path) < 0 ? -1 : 0; }
static long p_getxattr(void) { char value[64]; return getxattr(word[1], "user.x", value, sizeof value) < 0 ? -1 : 0; }

static long p_fsetxattr(void)
{
	int fd = open(word[1], O_RDONLY);
	long result = fd < 0 ? -1 : fsetxattr(fd, "user.x", "1", 1, 0);

	if (fd >= 0)
		close(fd);
	return result;
}

static long p_watch(void)
{
	int fd = inotify_init1(IN_CLOEXEC);
	long result = inotify_add_watch(fd, word[1], IN_CREATE);

	close(fd);
	return result < 0 ? -1 : 0;
}

static long p_fstat_empty(void)
{
	struct stat status;
	int fd = open(word[1], O_RDONLY);

	return fd < 0 ? -1 : fstatat(fd, "", &status, AT_EMPTY_PATH) + done(fd);
}

static long p_handle(void)
{
	union { struct file_handle head; char room[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } handle;
	int mount_id, root = open("/", O_RDONLY | O_DIRECTORY);
	long result;

	handle.head.handle_bytes = MAX_HANDLE_SZ;
	result = name_to_handle_at(AT_FDCWD, word[1], &handle.head, &mount_id, 0);
	return result < 0 ? result : done(open_by_handle_at(root, &handle.head, O_RDONLY));
}

/* ---- sockets ---- */

/* "1.2.3.4:80", "[::1]:80", "unix:/path", "unix:@name", or a family's number. */
static socklen_t address_of(const char *text, struct sockaddr_storage *storage)
{
	struct sockaddr_in *in4 = (void *)storage;
	struct sockaddr_in6 *in6 = (void *)storage;
	struct sockaddr_un *un = (void *)storage;
	char host[64] = "";
	int port = 0;

	memset(storage, 0, sizeof *storage);
	if (sscanf(text, "unix:%107s", un->sun_path) == 1) {
		un->sun_family = AF_UNIX;
		if (un->sun_path[0] == '@')
			un->sun_path[0] = 0;
		return (socklen_t)(2 + strlen(text) - 5 + (text[5] != '@'));
	}
	if (sscanf(text, "[%63[^]]]:%d", host, &port) == 2) {
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
		inet_pton(AF_INET6, host, &in6->sin6_addr);
		return sizeof *in6;
	}
	if (sscanf(text, "%63[^:]:%d", host, &port) == 2) {
		*in4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
		inet_pton(AF_INET, host, &in4->sin_addr);
		return sizeof *in4;
	}
	storage->ss_family = (sa_family_t)atoi(text);
	return sizeof(struct sockaddr_vm);
}

static int socket_for(const struct sockaddr_storage *address, int type)
{
	int fd = socket(address->ss_family == AF_UNSPEC ? AF_INET : address->ss_family, type | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	return fd;
}

static int type_of(const char *name)
{
	return name && strcmp(name, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
}

static long p_connect(void)
{
	struct sockaddr_storage address;
	socklen_t size = address_of(word[1], &address);
	int fd = socket_for(&address, type_of(word[2]));
	long result = connect(fd, (void *)&address, size);

	close(fd);
	return result;
}

static long p_bind(void)
{
	struct sockaddr_storage address;
	socklen_t size = address_of(word[1], &address);
	int fd = socket_for(&address, type_of(word[2]));
	long result = bind(fd, (void *)&address, size);

	close(fd);
	return result;
}

static long p_sendto(void)
{
	struct sockaddr_storage address;
	socklen_t size = address_of(word[1], &address);
	int fd = socket_for(&address, SOCK_DGRAM);
	long result;

	if (word[2])
		address.ss_family = AF_UNSPEC;
	/* the kernel takes the size as an int, whatever else the register holds */
	result = syscall(SYS_sendto, fd, "x", 1, 0, &address, (uint64_t)size | 1ull << 40);
	close(fd);
	return result < 0 ? -1 : 0;
}

static struct mmsghdr message_to(struct sockaddr_storage *address, socklen_t size, struct iovec *part)
{
	return (struct mmsghdr){ .msg_hdr = { .msg_name = address, .msg_namelen = size, .msg_iov = part, .msg_iovlen = 1 } };
}

static long p_sendmsg(void)
{
	struct sockaddr_storage address[2];
	struct iovec part = { "x", 1 };
	struct mmsghdr message = message_to(address, address_of(word[1], address), &part);
	int fd = socket_for(address, SOCK_DGRAM);
	long result;

	if (word[2])
		message.msg_hdr.msg_namelen = 200;	/* the kernel takes 128 of it */
	result = sendmsg(fd, &message.msg_hdr, 0);
	close(fd);
	return result < 0 ? -1 : 0;
}

/* One message to each address; how many went. */
static long p_sendmmsg(void)
{
	struct sockaddr_storage address[WORDS_MAX];
	struct iovec part = { "x", 1 };
	struct mmsghdr messages[WORDS_MAX];
	int fd, count = words - 1;
	long result;

	for (int i = 0; i < count; i++)
		messages[i] = message_to(&address[i], address_of(word[i + 1], &address[i]), &part);
	fd = socket_for(address, SOCK_DGRAM);
	result = syscall(SYS_sendmmsg, fd, messages, (uint64_t)(unsigned)count | 1ull << 40, 0);
	close(fd);
	return result;
}

static long p_netlink(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	long result = bind(fd, (void *)&address, sizeof address);

	close(fd);
	return result;
}

/* ---- programs ---- */

/* 0 when it was started and gave 0. */
static long child_result(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	errno = WIFEXITED(status) && WEXITSTATUS(status) < 134 ? WEXITSTATUS(status) : EINTR;
	return errno ? -1 : 0;
}

static long p_exec(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execv(word[1], &word[1]);
		_exit(errno);
	}
	return child_result(pid);
}

static long p_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execv(word[1], &word[1]);
		_exit(errno);
	}
	return child_result(pid);
}

static long p_spawn(void)
{
	pid_t pid;
	int error = posix_spawn(&pid, word[1], NULL, NULL, &word[1], environ);

	errno = error;
	return error ? -1 : child_result(pid);
}

/* posix_spawn with a file as its standard input. */
static long p_spawnin(void)
{
	posix_spawn_file_actions_t actions;
	int error;
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, word[1], O_RDONLY, 0);
	error = posix_spawn(&pid, word[2], &actions, NULL, &word[2], environ);
	errno = error;
	return error ? -1 : child_result(pid);
}

static long p_kill(void) { return kill(getpid(), 0); }
static long p_call(void) { return syscall(atoi(word[1]), 0, 0, 0, 0, 0, 0) < 0 ? -1 : 0; }

static long p_print(void)
{
	char bytes[4096];
	int fd = open(word[1], O_RDONLY);
	long size = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);

	if (size > 0)
		printf("[%.*s] ", (int)size, bytes);
	return size < 0 ? -1 : done(fd);
}

static long p_environ(void)
{
	printf("[%s] ", getenv(word[1]) ? getenv(word[1]) : "");
	return 0;
}

#define PROBE(name) { #name, p_##name }

static const struct { const char *name; long (*run)(void); } probes[] = {
	PROBE(open), PROBE(creat), PROBE(openat), PROBE(openat2), PROBE(openlong), PROBE(stat), PROBE(lstat), PROBE(statx),
	PROBE(access), PROBE(chdir), PROBE(unlink), PROBE(mkdir), PROBE(rmdir), PROBE(truncate), PROBE(chmod),
	PROBE(rename), PROBE(renameat2), PROBE(link), PROBE(linkat), PROBE(symlink), PROBE(symlinkat), PROBE(readlink),
	PROBE(getxattr), PROBE(fsetxattr), PROBE(watch), PROBE(fstat_empty), PROBE(handle), PROBE(connect), PROBE(bind),
	PROBE(sendto), PROBE(sendmsg), PROBE(sendmmsg), PROBE(netlink), PROBE(exec), PROBE(vfork), PROBE(spawn),
	PROBE(spawnin), PROBE(kill), PROBE(call), PROBE(print), PROBE(environ),
};

static long probe(void)
{
	for (size_t i = 0; i < sizeof probes / sizeof *probes; i++)
		if (strcmp(probes[i].name, word[0]) == 0)
			return probes[i].run();
	exit(99);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		char *text = strdup(argv[i]);
		long result;

		memset(word, 0, sizeof word);
		words = 0;
		for (char *at = strtok(text, " "); at && words < WORDS_MAX - 1; at = strtok(NULL, " "))
			word[words++] = at;
		errno = 0;
		result = probe();
		printf("%s: ", argv[i]);
		puts(result < 0 ? strerrorname_np(errno) : result ? "some" : "0");
		fflush(stdout);
		free(text);
	}
	return 0;
}
