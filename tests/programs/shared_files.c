/*
 * shared_files.c - files as several descriptors and processes see them: offsets, appends, locks, names, mappings.
 *
 * Owns: nothing outside its current directory, which may be in a volume. Must never: know whether it is. Used by:
 * test_programs.py; tests/volume/test_programs.py runs it there.
 */
#include "guard.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/vfs.h>

static char *read_all(const char *name, size_t *size)
{
	static char bytes[1 << 20];
	int fd = (int)SYS(open(name, O_RDONLY));
	long done = 0, got;

	while ((got = SYS(read(fd, bytes + done, sizeof bytes - 1 - (size_t)done))) > 0)
		done += got;
	SYS(close(fd));
	bytes[done] = 0;
	if (size)
		*size = (size_t)done;
	return bytes;
}

CASE(open_flags_do_what_they_say)
{
	struct stat status;
	int fd = (int)SYS(open("new", O_RDWR | O_CREAT | O_EXCL, 0640));

	umask(0);
	FAILS(EEXIST, open("new", O_RDWR | O_CREAT | O_EXCL, 0640));
	GIVES(5, write(fd, "hello", 5));
	GIVES(0, fstat(fd, &status));
	CHECK(S_ISREG(status.st_mode) && (status.st_mode & 0777) == (0640 & ~022) && status.st_size == 5 && status.st_nlink == 1);
	GIVES(O_RDWR, fcntl(fd, F_GETFL) & O_ACCMODE);
	FAILS(ENOENT, open("none", O_RDONLY));
	FAILS(ENOTDIR, open("new", O_RDONLY | O_DIRECTORY));
	FAILS(ENOTDIR, open("new/below", O_RDONLY));
	FAILS(EISDIR, open(".", O_RDWR));
	FAILS(EBADF, write((int)SYS(open("new", O_RDONLY)), "x", 1));
	FAILS(EBADF, read((int)SYS(open("new", O_WRONLY)), &status, 1));
	GIVES(0, close((int)SYS(open("new", O_WRONLY | O_TRUNC))));
	GIVES(0, fstat(fd, &status));
	CHECK(status.st_size == 0);
	GIVES(0, symlink("new", "link"));
	FAILS(ELOOP, open("link", O_RDONLY | O_NOFOLLOW));
	GIVES(0, close((int)SYS(open("link", O_RDONLY))));
	fd = (int)SYS(open("link", O_PATH | O_NOFOLLOW));
	FAILS(EBADF, read(fd, &status, 1));
	GIVES(0, fstat(fd, &status));
	CHECK(S_ISLNK(status.st_mode));
	GIVES(0, symlink("made", "dangling"));
	GIVES(0, close((int)SYS(open("dangling", O_CREAT | O_WRONLY, 0600))));
	GIVES(0, stat("made", &status));
	CHECK((SYS(fcntl((int)SYS(open("new", O_RDONLY | O_CLOEXEC)), F_GETFD)) & FD_CLOEXEC) != 0);
}

CASE(a_descriptor_is_the_lowest_free_number)
{
	int a = (int)SYS(open("a", O_RDWR | O_CREAT, 0600)), b = (int)SYS(open("b", O_RDWR | O_CREAT, 0600));

	SYS(close(a));
	GIVES(a, open("c", O_RDWR | O_CREAT, 0600));
	GIVES(b + 1, dup(b));
	GIVES(40, fcntl(b, F_DUPFD, 40));
	GIVES(50, dup2(b, 50));
	GIVES(1, write(50, "x", 1));
	GIVES(1, lseek(40, 0, SEEK_CUR));
	FAILS(EBADF, dup2(999, 40));
	FAILS(EINVAL, dup3(b, 40, O_APPEND));
	GIVES(1, write(40, "y", 1));
	GIVES(2, lseek(b, 0, SEEK_CUR));
}

CASE(a_fork_child_moves_the_same_offset)
{
	char bytes[4] = "";
	int fd = file_of("f", "abcdefgh", 8);
	pid_t pid = (pid_t)SYS(fork());

	if (!pid) {
		GIVES(3, read(fd, bytes, 3));
		_exit(0);
	}
	GIVES(0, exit_status(pid));
	GIVES(3, read(fd, bytes, 3));
	CHECK(memcmp(bytes, "def", 3) == 0);
	SYS(close(fd));
}

CASE(appends_of_four_processes_do_not_overlap)
{
	enum { PROCESSES = 4, TIMES = 200 };
	char line[64];
	size_t size;
	const char *all;
	int counts[PROCESSES] = { 0 };

	for (int i = 0; i < PROCESSES; i++)
		if (!SYS(fork())) {
			int fd = (int)SYS(open("log", O_WRONLY | O_APPEND | O_CREAT, 0600));

			for (int n = 0; n < TIMES; n++) {
				int length = snprintf(line, sizeof line, "%d is the writer of line %d\n", i, n);
				struct iovec parts[2] = { { line, 5 }, { line + 5, (size_t)length - 5 } };

				GIVES(length, n % 2 ? writev(fd, parts, 2) : write(fd, line, (size_t)length));
			}
			_exit(0);
		}
	for (int i = 0, status; i < PROCESSES; i++) {
		SYS(wait(&status));
		CHECK(status == 0);
	}
	all = read_all("log", &size);
	for (const char *at = all; *at; at = strchr(at, '\n') + 1) {
		int who, n;

		CHECK(sscanf(at, "%d is the writer of line %d\n", &who, &n) == 2 && n == counts[who]);
		counts[who]++;
	}
	for (int i = 0; i < PROCESSES; i++)
		CHECK(counts[i] == TIMES);
}

CASE(names_move_and_are_replaced)
{
	struct stat before, after;

	close(file_of("a", "old", 3));
	close(file_of("b", "new!", 4));
	GIVES(0, stat("b", &before));
	GIVES(0, rename("b", "a"));
	GIVES(0, stat("a", &after));
	CHECK(before.st_ino == after.st_ino && after.st_size == 4);
	FAILS(ENOENT, stat("b", &after));
	GIVES(0, mkdir("d", 0755));
	GIVES(0, mkdir("d/e", 0755));
	FAILS(EISDIR, rename("a", "d"));
	FAILS(ENOTDIR, rename("d", "a"));
	FAILS(EINVAL, rename("d", "d/e/f"));
	GIVES(0, mkdir("x", 0755));
	FAILS(ENOTEMPTY, rename("x", "d"));
	GIVES(0, rename("d/e", "x"));
	FAILS(ENOENT, rmdir("d/e"));
	close(file_of("c", "c", 1));
	FAILS(EEXIST, syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 1));
	GIVES(0, syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 2));
	GIVES(0, stat("a", &after));
	CHECK(after.st_size == 1);
}

CASE(links_count_and_an_unlinked_file_stays_while_open)
{
	char bytes[8];
	struct stat status;
	int fd = file_of("a", "bytes", 5);

	GIVES(0, link("a", "b"));
	GIVES(0, fstat(fd, &status));
	CHECK(status.st_nlink == 2);
	FAILS(EEXIST, link("a", "b"));
	GIVES(0, unlink("a"));
	GIVES(0, unlink("b"));
	FAILS(ENOENT, unlink("b"));
	GIVES(0, fstat(fd, &status));
	CHECK(status.st_nlink == 0);
	GIVES(5, read(fd, bytes, sizeof bytes));
	GIVES(5, pwrite(fd, "BYTES", 5, 5));
	GIVES(10, lseek(fd, 0, SEEK_END));
	GIVES(0, mkdir("d", 0755));
	FAILS(EPERM, link("d", "e"));
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOTDIR, rmdir((close(file_of("f", "", 0)), "f")));
	GIVES(0, rmdir("d"));
}

CASE(symbolic_links_lead_where_they_say)
{
	char target[64];
	struct stat status;

	GIVES(0, mkdir("d", 0755));
	close(file_of("d/f", "1234567", 7));
	GIVES(0, symlink("d", "to_d"));
	GIVES(0, symlink("../d/f", "d/around"));
	GIVES(1, readlink("to_d", target, sizeof target));
	GIVES(0, stat("to_d/around", &status));
	CHECK(status.st_size == 7);
	GIVES(0, lstat("to_d", &status));
	CHECK(S_ISLNK(status.st_mode) && status.st_size == 1);
	GIVES(0, symlink("/proc/self/status", "out"));
	CHECK(strstr(read_all("out", NULL), "Pid:") != NULL);
	GIVES(0, symlink("loop", "loop"));
	FAILS(ELOOP, open("loop", O_RDONLY));
	FAILS(EINVAL, readlink("d", target, sizeof target));
}

CASE(a_directory_lists_its_names)
{
	enum { NAMES = 500 };
	static char seen[NAMES];
	char name[300];
	struct dirent *entry;
	DIR *directory;
	int others = 0;

	GIVES(0, mkdir("d", 0755));
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof name, "d/name-%d", i);
		SYS(close((int)SYS(open(name, O_CREAT | O_WRONLY, 0600))));
	}
	directory = opendir("d");
	CHECK(directory != NULL);
	while ((entry = readdir(directory)) != NULL) {
		int n = -1;

		if (sscanf(entry->d_name, "name-%d", &n) == 1) {
			CHECK(n >= 0 && n < NAMES && !seen[n] && entry->d_type == DT_REG);
			seen[n] = 1;
			snprintf(name, sizeof name, "d/%s", entry->d_name);
			GIVES(0, unlink(name));
		} else {
			CHECK(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
			others++;
		}
	}
	CHECK(others == 2);
	closedir(directory);
	GIVES(0, rmdir("d"));
}

CASE(the_current_directory_follows)
{
	char path[4096], start[4096], want[4200];
	int fd;

	CHECK(getcwd(start, sizeof start) != NULL);
	GIVES(0, mkdir("d", 0755));
	GIVES(0, mkdir("d/e", 0755));
	GIVES(0, chdir("d/e"));
	CHECK(getcwd(path, sizeof path) != NULL);
	snprintf(want, sizeof want, "%s/d/e", start);
	CHECK(strcmp(path, want) == 0);
	close(file_of("f", "in e", 4));
	GIVES(0, access("../../d/e/f", R_OK));
	GIVES(0, access(strcat(want, "/f"), R_OK));
	fd = (int)SYS(open("..", O_RDONLY | O_DIRECTORY));
	GIVES(0, fchdir(fd));
	GIVES(0, access("e/f", R_OK));
	GIVES(0, faccessat(fd, "e/f", R_OK, 0));
	if (!SYS(fork())) {
		GIVES(0, chdir("/"));
		FAILS(ENOENT, access("e/f", R_OK));
		GIVES(0, faccessat(fd, "e/f", R_OK, 0));
		_exit(0);
	}
	SYS(wait(NULL));
	GIVES(0, access("e/f", R_OK));
	GIVES(0, rename("../d", "../moved"));
	CHECK(getcwd(path, sizeof path) != NULL);
	snprintf(want, sizeof want, "%s/moved", start);
	CHECK(strcmp(path, want) == 0);
}

static int lock(int fd, int command, short type, long start, long size)
{
	struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = size };

	return fcntl(fd, command, &range);
}

CASE(ranges_are_locked_between_processes)
{
	struct flock range = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 1 };
	int fd = file_of("f", "0123456789", 10), ready[2];
	char byte;
	pid_t pid;

	SYS(pipe(ready));
	GIVES(0, lock(fd, F_SETLK, F_WRLCK, 0, 10));
	pid = (pid_t)SYS(fork());
	if (!pid) {
		FAILS(EAGAIN, lock(fd, F_SETLK, F_RDLCK, 9, 5));
		GIVES(0, lock(fd, F_SETLK, F_WRLCK, 10, 0));
		GIVES(0, fcntl(fd, F_GETLK, &range));
		CHECK(range.l_type == F_WRLCK && range.l_pid == getppid() && range.l_start == 0 && range.l_len == 10);
		SYS(write(ready[1], "x", 1));
		GIVES(0, lock(fd, F_SETLKW, F_WRLCK, 0, 1));
		_exit(0);
	}
	SYS(read(ready[0], &byte, 1));
	sleep_ms(20);
	FAILS(EAGAIN, lock(fd, F_SETLK, F_WRLCK, 12, 1));
	GIVES(0, lock(fd, F_SETLK, F_UNLCK, 0, 5));
	GIVES(0, exit_status(pid));
	GIVES(0, lock(fd, F_SETLK, F_WRLCK, 0, 0));
	close((int)SYS(open("f", O_RDONLY)));		/* takes all of the process's locks with it */
	pid = (pid_t)SYS(fork());
	if (!pid) {
		GIVES(0, lock(fd, F_SETLK, F_WRLCK, 0, 0));
		_exit(0);
	}
	GIVES(0, exit_status(pid));
}

CASE(locks_of_a_killed_process_are_gone)
{
	int fd = file_of("f", "x", 1), other, ready[2];
	char byte;
	pid_t pid;

	SYS(pipe(ready));
	pid = (pid_t)SYS(fork());
	if (!pid) {
		int own = (int)SYS(open("f", O_RDWR));

		GIVES(0, lock(own, F_SETLK, F_WRLCK, 0, 0));
		GIVES(0, flock(own, LOCK_EX));
		SYS(write(ready[1], "x", 1));
		pause();
	}
	SYS(read(ready[0], &byte, 1));
	FAILS(EAGAIN, lock(fd, F_SETLK, F_WRLCK, 0, 0));
	FAILS(EAGAIN, flock(fd, LOCK_EX | LOCK_NB));
	SYS(kill(pid, SIGKILL));
	GIVES(SIGKILL, death_signal(pid));
	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0 && i < 400; i++)
		sleep_ms(5);		/* who shares its descriptors may end a moment later */
	GIVES(0, flock(fd, LOCK_EX | LOCK_NB));
	GIVES(0, lock(fd, F_SETLK, F_WRLCK, 0, 0));
	other = (int)SYS(open("f", O_RDWR));
	FAILS(EAGAIN, flock(other, LOCK_SH | LOCK_NB));
	GIVES(0, close(fd));
	GIVES(0, flock(other, LOCK_SH | LOCK_NB));
}

CASE(open_file_locks_belong_to_the_open_file)
{
	int a = file_of("f", "x", 1), b = (int)SYS(open("f", O_RDWR)), c = (int)SYS(dup(a));

	GIVES(0, lock(a, F_OFD_SETLK, F_WRLCK, 0, 0));
	GIVES(0, lock(c, F_OFD_SETLK, F_WRLCK, 0, 0));
	FAILS(EAGAIN, lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
	SYS(close(a));
	FAILS(EAGAIN, lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
	SYS(close(c));
	GIVES(0, lock(b, F_OFD_SETLK, F_RDLCK, 0, 0));
}

CASE(a_shared_mapping_is_the_file)
{
	int fd = (int)SYS(open("f", O_RDWR | O_CREAT, 0600));
	char *map, *other, byte;
	pid_t pid;

	GIVES(0, ftruncate(fd, 3 * PAGE));
	map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	other = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
	CHECK(other != MAP_FAILED);
	strcpy(map + PAGE, "by the mapping");
	CHECK(strcmp(other, "by the mapping") == 0);
	GIVES(1, pread(fd, &byte, 1, PAGE));
	CHECK(byte == 'b');
	GIVES(2, pwrite(fd, "BY", 2, PAGE));
	CHECK(strcmp(other, "BY the mapping") == 0);
	pid = (pid_t)SYS(fork());
	if (!pid) {
		int own = (int)SYS(open("f", O_RDWR));
		char *mine = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, own, 0);

		CHECK(mine != MAP_FAILED && strcmp(mine + PAGE, "BY the mapping") == 0);
		mine[2 * PAGE] = 'z';
		map[0] = 'a';
		_exit(0);
	}
	GIVES(0, exit_status(pid));
	CHECK(map[2 * PAGE] == 'z' && map[0] == 'a');
	GIVES(0, msync(map, 3 * PAGE, MS_SYNC));
	GIVES(0, munmap(map, PAGE));
	map[PAGE + 14] = '!';
	CHECK(other[14] == '!');
	SYS(close(fd));
	GIVES(0, munmap(map + PAGE, 2 * PAGE));
	CHECK(memcmp(other, "BY the mapping!", 15) == 0);
}

CASE(a_private_mapping_is_a_copy)
{
	int fd = file_of("f", "original", 8);
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0), bytes[8];

	CHECK(map != MAP_FAILED && memcmp(map, "original", 8) == 0 && map[8] == 0);
	memcpy(map, "changed!", 8);
	GIVES(8, pread(fd, bytes, 8, 0));
	CHECK(memcmp(bytes, "original", 8) == 0);
	map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, (int)SYS(open("f", O_RDONLY)), 0);
	CHECK(map != MAP_FAILED && memcmp(map, "original", 8) == 0);
	FAILS(EACCES, mprotect(map, PAGE, PROT_READ | PROT_WRITE));
	CHECK(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)SYS(open("f", O_RDONLY)), 0) == MAP_FAILED && errno == EACCES);
}

CASE(a_mapping_grows_with_its_file)
{
	int fd = file_of("f", "x", 1);
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), byte;

	CHECK(map != MAP_FAILED);
	GIVES(0, ftruncate(fd, 300 * PAGE));
	map = mremap(map, PAGE, 300 * PAGE, MREMAP_MAYMOVE);
	CHECK(map != MAP_FAILED && map[0] == 'x');
	map[299 * PAGE] = 'y';
	GIVES(1, pread(fd, &byte, 1, 299 * PAGE));
	CHECK(byte == 'y');
	CHECK(mremap(map, 300 * PAGE, PAGE, 0) == map && map[0] == 'x');
}

static void touch(const char *address)
{
	if (!SYS(fork())) {
		signal(SIGBUS, SIG_DFL);
		_exit(*(volatile const char *)address);
	}
}

CASE(a_mapping_behind_the_end_is_a_bus_error_until_the_file_grows)
{
	enum { FAR = 700 };
	int fd = file_of("f", "x", 1), status;
	char *map = mmap(NULL, 1000 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(map != MAP_FAILED);
	CHECK(map[0] == 'x' && map[PAGE - 1] == 0);
	touch(map + PAGE);
	SYS(wait(&status));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	GIVES(1, pwrite(fd, "y", 1, FAR * PAGE));
	CHECK(map[FAR * PAGE] == 'y' && map[PAGE] == 0);
	if (!SYS(fork())) {
		GIVES(0, ftruncate(fd, 1000 * PAGE));
		GIVES(1, pwrite((int)SYS(open("f", O_WRONLY)), "z", 1, 999 * PAGE));
		_exit(0);
	}
	SYS(wait(&status));
	CHECK(status == 0 && map[999 * PAGE] == 'z');
	map[998 * PAGE] = 'w';
	GIVES(1, pread(fd, map, 1, 998 * PAGE));
	CHECK(map[0] == 'w');
}

CASE(holes_are_seen_and_made)
{
	char bytes[PAGE];
	struct stat status;
	int fd = (int)SYS(open("f", O_RDWR | O_CREAT, 0600));

	GIVES(1, pwrite(fd, "x", 1, 1 << 20));
	GIVES(PAGE, pread(fd, bytes, PAGE, 4096));
	for (int i = 0; i < PAGE; i++)
		CHECK(!bytes[i]);
	GIVES(0, fstat(fd, &status));
	CHECK(status.st_size == (1 << 20) + 1 && status.st_blocks < 1024);
	GIVES(0, ftruncate(fd, 100));
	GIVES(100, pread(fd, bytes, PAGE, 0));
	memset(bytes, 'a', PAGE);
	for (int i = 0; i < 8; i++)
		GIVES(PAGE, pwrite(fd, bytes, PAGE, i * PAGE));
	GIVES(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 10, PAGE));
	GIVES(PAGE, pread(fd, bytes, PAGE, PAGE));
	CHECK(bytes[9] == 'a' && !bytes[10] && !bytes[PAGE - 1]);
	GIVES(0, fallocate(fd, 0, 0, 20 * PAGE));
	GIVES(20 * PAGE, lseek(fd, 0, SEEK_END));
	GIVES(0, truncate("f", 7));
	GIVES(7, lseek(fd, 0, SEEK_END));
	GIVES(0, lseek(fd, 0, SEEK_DATA));
	GIVES(7, lseek(fd, 0, SEEK_HOLE));
	FAILS(ENXIO, lseek(fd, 7, SEEK_DATA));
}

CASE(a_file_without_a_name_can_get_one)
{
	char path[64];
	struct stat status;
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0)
		skip("no O_TMPFILE here");
	GIVES(4, write(fd, "temp", 4));
	GIVES(0, fstat(fd, &status));
	CHECK(status.st_nlink == 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	GIVES(0, linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	CHECK(strcmp(read_all("named", NULL), "temp") == 0);
	CHECK(strcmp(read_all(path, NULL), "temp") == 0);
}

CASE(data_moves_between_descriptors)
{
	char bytes[64] = "";
	int from = file_of("from", "0123456789", 10), to = (int)SYS(open("to", O_RDWR | O_CREAT, 0600)), ends[2];
	off_t at = 2;

	GIVES(5, sendfile(to, from, &at, 5));
	CHECK(at == 7);
	GIVES(3, sendfile(to, from, NULL, 3));
	GIVES(8, pread(to, bytes, 64, 0));
	CHECK(memcmp(bytes, "23456012", 8) == 0);
	GIVES(3, lseek(from, 0, SEEK_CUR));
	SYS(pipe(ends));
	GIVES(4, splice(from, NULL, ends[1], NULL, 4, 0));
	GIVES(4, splice(ends[0], NULL, to, &(loff_t){ 0 }, 4, 0));
	GIVES(4, pread(to, bytes, 4, 0));
	CHECK(memcmp(bytes, "3456", 4) == 0);
	GIVES(2, copy_file_range(from, &(loff_t){ 8 }, to, &(loff_t){ 2 }, 100, 0));
	GIVES(4, pread(to, bytes, 4, 0));
	CHECK(memcmp(bytes, "3489", 4) == 0);
	SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	GIVES(6, sendfile(ends[1], from, &(off_t){ 4 }, 100));
	GIVES(6, read(ends[0], bytes, 64));
	CHECK(memcmp(bytes, "456789", 6) == 0);
}

static void send_descriptor(int socket, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	GIVES(1, sendmsg(socket, &message, 0));
}

static int receive_descriptor(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &byte, 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int fd;

	GIVES(1, recvmsg(socket, &message, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

CASE(a_descriptor_that_is_sent_is_the_same_open_file)
{
	char bytes[16] = "";
	int ends[2], fd;

	SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
	if (!SYS(fork())) {
		fd = file_of("f", "0123456789", 10);
		GIVES(2, read(fd, bytes, 2));
		send_descriptor(ends[1], fd);
		SYS(close(fd));
		GIVES(1, read(ends[1], bytes, 1));
		_exit(0);
	}
	fd = receive_descriptor(ends[0]);
	GIVES(3, read(fd, bytes, 3));
	CHECK(memcmp(bytes, "234", 3) == 0);
	GIVES(0, unlink("f"));
	GIVES(1, write(ends[0], "x", 1));
	SYS(wait(NULL));
	GIVES(3, read(fd, bytes, 3));
	CHECK(memcmp(bytes, "567", 3) == 0);
}

ROLE(reads_on)
{
	char bytes[8] = "";

	GIVES(3, read(9, bytes, 3));
	CHECK(memcmp(bytes, "cde", 3) == 0);
	FAILS(EBADF, fcntl(10, F_GETFD));
	GIVES(0, access("f", R_OK));
	GIVES(3, write(1, "out", 3));
}

static void exec_role(void)
{
	char path[4096];
	long size = SYS(readlink("/proc/self/exe", path, sizeof path - 1));

	path[size] = 0;
	execl(path, path, "reads_on", NULL);
	_exit(1);
}

CASE(open_files_stay_open_over_an_exec)
{
	char bytes[8];
	int fd = file_of("f", "abcdefgh", 8), out;
	pid_t pid;

	for (int with_vfork = 0; with_vfork < 2; with_vfork++) {
		GIVES(2, pread(fd, bytes, 2, 0));
		GIVES(2, lseek(fd, 2, SEEK_SET));
		out = (int)SYS(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600));
		GIVES(9, dup2(fd, 9));
		GIVES(10, dup3(fd, 10, O_CLOEXEC));
		pid = (pid_t)(with_vfork ? vfork() : fork());
		if (!pid) {
			dup2(out, 1);
			exec_role();
		}
		CHECK(pid > 0);
		GIVES(0, exit_status(pid));
		SYS(close(out));
		GIVES(5, lseek(fd, 0, SEEK_CUR));
		CHECK(strcmp(read_all("out", NULL), "out") == 0);
	}
}

CASE(a_shell_redirects)
{
	CHECK(system("echo one > f; echo two >> f; { read a; read b; echo $b$a; } < f > g; cat < g >> f; (cd / && cat) < g > h") == 0);
	CHECK(strcmp(read_all("f", NULL), "one\ntwo\ntwoone\n") == 0);
	CHECK(strcmp(read_all("h", NULL), "twoone\n") == 0);
	CHECK(system("cat /dev/stdin < f > i && cmp f i && mkdir d && cd d && echo x > y && cd .. && cat d/y") == 0);
}

CASE(times_are_kept)
{
	struct timespec times[2] = { { 1000, 5 }, { 2000, 7 } };
	struct stat status;
	int fd = file_of("f", "x", 1);

	GIVES(0, utimensat(AT_FDCWD, "f", times, 0));
	GIVES(0, stat("f", &status));
	CHECK(status.st_atim.tv_sec == 1000 && status.st_atim.tv_nsec == 5);
	CHECK(status.st_mtim.tv_sec == 2000 && status.st_mtim.tv_nsec == 7);
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	GIVES(0, futimens(fd, times));
	GIVES(0, stat("f", &status));
	CHECK(status.st_atim.tv_sec == 1000 && status.st_mtim.tv_sec > 1000000);
	GIVES(0, chmod("f", 0600));
	GIVES(0, fchmod(fd, 04751));
	GIVES(0, stat("f", &status));
	CHECK((status.st_mode & 07777) == 04751);
}

CASE(a_file_system_tells_its_size)
{
	struct statfs of_path, of_fd;

	GIVES(0, statfs(".", &of_path));
	GIVES(0, fstatfs((int)SYS(open(".", O_RDONLY)), &of_fd));
	CHECK(of_path.f_type == of_fd.f_type && of_path.f_bsize >= 512 && of_path.f_namelen == 255);
	FAILS(ENAMETOOLONG, open("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
				 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", O_RDONLY));
}

CASE(bad_memory_is_an_error)
{
	int fd = file_of("f", "0123456789", 10);

	FAILS(EFAULT, read(fd, faulting(), 10));
	FAILS(EFAULT, pwrite(fd, faulting(), 10, 0));
	FAILS(EFAULT, open(faulting(), O_RDONLY));
	FAILS(EFAULT, stat("f", faulting()));
	GIVES(10, pread(fd, guarded(10), 20, 0));
	GIVES(0, access(guarded_string("f"), R_OK));
}
