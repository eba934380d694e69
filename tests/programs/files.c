/*
 * files.c - what programs do with regular files and directories.
 *
 * Owns: the cases for reading, writing, vectors, names, links, attributes. Must never: leave its working directory.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/xattr.h>

CASE(what_is_written_is_read_back)
{
	char *text = guarded_copy("hello, file", 11);
	char *back = guarded(11);
	int fd = (int)SYS(open(guarded_string("a"), O_RDWR | O_CREAT | O_EXCL, 0600));

	GIVES(11, write(fd, text, 11));
	GIVES(0, lseek(fd, 0, SEEK_SET));
	GIVES(11, read(fd, back, 11));
	CHECK(memcmp(back, text, 11) == 0);
	GIVES(0, read(fd, back, 11));
	GIVES(0, close(fd));
	FAILS(EBADF, read(fd, back, 1));
	FAILS(EEXIST, open("a", O_RDWR | O_CREAT | O_EXCL, 0600));
	FAILS(ENOENT, open("absent", O_RDONLY));
}

CASE(a_short_read_writes_only_what_it_returns)
{
	char *back = guarded(64);
	int fd = file_of("a", "12345", 5);

	memset(back, 'x', 64);
	GIVES(5, read(fd, back, 64));
	CHECK(memcmp(back, "12345xxxxx", 10) == 0);
	GIVES(0, read(fd, back, 0));
}

CASE(a_large_file_passes_in_one_call)
{
	size_t size = 10 << 20;
	unsigned char *bytes = guarded(size);
	unsigned char *back = guarded(size);
	int fd;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	fd = file_of("large", bytes, size);
	GIVES(size, read(fd, back, size));
	CHECK(memcmp(bytes, back, size) == 0);
}

CASE(pread_and_pwrite_leave_the_offset)
{
	char *back = guarded(4);
	int fd = file_of("a", "abcdefgh", 8);

	GIVES(4, pread(fd, back, 4, 4));
	CHECK(memcmp(back, "efgh", 4) == 0);
	GIVES(4, pwrite(fd, guarded_copy("WXYZ", 4), 4, 6));
	GIVES(0, lseek(fd, 0, SEEK_CUR));
	GIVES(10, lseek(fd, 0, SEEK_END));
	GIVES(0, pread(fd, back, 4, 10));
	FAILS(EINVAL, pread(fd, back, 4, -1));
}

static struct iovec *vector_of(void *a, size_t a_size, void *b, size_t b_size)
{
	struct iovec vector[3] = { { a, a_size }, { NULL, 0 }, { b, b_size } };

	return guarded_copy(vector, sizeof(vector));
}

CASE(vectors_gather_and_scatter)
{
	char *first = guarded(3);
	char *second = guarded(5);
	int fd = (int)SYS(open("a", O_RDWR | O_CREAT, 0600));

	GIVES(8, writev(fd, vector_of(guarded_copy("abc", 3), 3, guarded_copy("defgh", 5), 5), 3));
	GIVES(0, lseek(fd, 0, SEEK_SET));
	GIVES(8, readv(fd, vector_of(first, 3, second, 5), 3));
	CHECK(memcmp(first, "abc", 3) == 0 && memcmp(second, "defgh", 5) == 0);
	GIVES(6, preadv(fd, vector_of(first, 3, second, 5), 3, 2));
	CHECK(memcmp(first, "cde", 3) == 0 && memcmp(second, "fghgh", 5) == 0);
	GIVES(4, pwritev(fd, vector_of(guarded_copy("12", 2), 2, guarded_copy("34", 2), 2), 3, 7));
	GIVES(8, preadv2(fd, vector_of(first, 3, second, 5), 3, 3, 0));
	CHECK(memcmp(first, "def", 3) == 0 && memcmp(second, "g1234", 5) == 0);
	GIVES(2, pwritev2(fd, vector_of(guarded_copy("Y", 1), 1, guarded_copy("Z", 1), 1), 3, 0, RWF_APPEND));
	GIVES(13, lseek(fd, 0, SEEK_END));
	GIVES(0, readv(fd, vector_of(first, 3, second, 5), 0));
	FAILS(EINVAL, readv(fd, vector_of(first, 3, second, 5), -1));
	FAILS(EINVAL, writev(fd, vector_of(first, 3, second, 5), 1025));
}

CASE(a_vector_of_1024_parts_passes)
{
	struct iovec *vector = guarded(1024 * sizeof(*vector));
	char *bytes = guarded(1024 * 3);
	char *back = guarded(1024 * 3);
	int fd = (int)SYS(open("a", O_RDWR | O_CREAT, 0600));

	for (int i = 0; i < 1024; i++) {
		memset(bytes + 3 * i, 'a' + i % 26, 3);
		vector[i] = (struct iovec){ bytes + 3 * i, 3 };
	}
	GIVES(3072, writev(fd, vector, 1024));
	GIVES(3072, pread(fd, back, 3072, 0));
	CHECK(memcmp(bytes, back, 3072) == 0);
}

CASE(two_appenders_never_overwrite)
{
	int a = (int)SYS(open("log", O_WRONLY | O_CREAT | O_APPEND, 0600));
	int b = (int)SYS(open("log", O_RDWR | O_APPEND));
	char *back = guarded(400);

	for (int i = 0; i < 100; i++) {
		GIVES(2, write(a, "aa", 2));
		GIVES(2, write(b, "bb", 2));
	}
	GIVES(400, pread(b, back, 400, 0));
	for (int i = 0; i < 100; i++)
		CHECK(memcmp(back + 4 * i, "aabb", 4) == 0);
}

CASE(truncation_and_holes_read_as_zeroes)
{
	struct stat *st = guarded(sizeof(*st));
	char *back = guarded(8);
	int fd = file_of("a", "abcdefgh", 8);

	GIVES(0, ftruncate(fd, 3));
	GIVES(0, ftruncate(fd, 8));
	GIVES(8, read(fd, back, 8));
	CHECK(memcmp(back, "abc\0\0\0\0\0", 8) == 0);
	GIVES(0, truncate(guarded_string("a"), 1 << 20));
	GIVES(0, fstat(fd, st));
	CHECK(st->st_size == 1 << 20 && st->st_blocks * 512 < 1 << 20);
	GIVES(1, pwrite(fd, "x", 1, (1 << 20) + 5));
	CHECK(SYS(lseek(fd, 1 << 16, SEEK_DATA)) >= 1 << 16);
	CHECK(SYS(lseek(fd, 8, SEEK_HOLE)) >= 8);
	GIVES(0, fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 2 << 20));
	GIVES(0, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	GIVES(0, posix_fallocate(fd, 0, 2 << 20));
	GIVES(2 << 20, lseek(fd, 0, SEEK_END));
	FAILS(EINVAL, ftruncate(fd, -1));
}

CASE(an_unnamed_file_gets_a_name_by_proc_self_fd)
{
	char path[64];
	char *back = guarded(5);
	int fd = (int)SYS(open(".", O_TMPFILE | O_RDWR, 0600));

	GIVES(5, write(fd, "ghost", 5));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	GIVES(0, linkat(AT_FDCWD, guarded_string(path), AT_FDCWD, guarded_string("named"), AT_SYMLINK_FOLLOW));
	fd = (int)SYS(open("named", O_RDONLY));
	GIVES(5, read(fd, back, 5));
	CHECK(memcmp(back, "ghost", 5) == 0);
}

CASE(a_directory_lists_each_entry_once)
{
	char name[32], seen[300] = { 0 };
	int count = 0;
	struct dirent *entry;
	DIR *dir;

	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "entry-%d", i);
		close((int)SYS(open(name, O_CREAT | O_WRONLY, 0600)));
	}
	dir = opendir(".");
	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "entry-", 6) != 0)
			continue;
		CHECK(!seen[atoi(entry->d_name + 6)]++);
		CHECK(entry->d_type == DT_REG);
		count++;
	}
	CHECK(count == 300);
	rewinddir(dir);
	CHECK(readdir(dir) != NULL);
	closedir(dir);
}

CASE(getdents_fills_small_buffers_and_refuses_smaller)
{
	char *buffer = guarded(64);
	int fd = (int)SYS(open(".", O_RDONLY | O_DIRECTORY));
	long got, total = 0;

	close((int)SYS(open("one-file", O_CREAT | O_WRONLY, 0600)));
	while ((got = SYS(syscall(SYS_getdents64, fd, buffer, 64))) > 0)
		total += got;
	CHECK(total >= 24 * 3);
	GIVES(0, lseek(fd, 0, SEEK_SET));
	FAILS(EINVAL, syscall(SYS_getdents64, fd, buffer, 8));
	FAILS(ENOTDIR, syscall(SYS_getdents64, file_of("f", "", 0), buffer, 64));
}

CASE(renames_replace_exchange_and_refuse)
{
	struct stat a, b;

	close(file_of("a", "A", 1));
	close(file_of("b", "BB", 2));
	FAILS(EEXIST, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	GIVES(0, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
	GIVES(0, stat("a", &a));
	GIVES(0, stat("b", &b));
	CHECK(a.st_size == 2 && b.st_size == 1);
	GIVES(0, rename("a", "b"));
	FAILS(ENOENT, stat("a", &a));
	GIVES(0, mkdir("dir", 0700));
	FAILS(EISDIR, rename("b", "dir"));
	GIVES(0, renameat(AT_FDCWD, "b", (int)SYS(open("dir", O_PATH)), "inner"));
	FAILS(ENOTEMPTY, rmdir("dir"));
	GIVES(0, unlink("dir/inner"));
	GIVES(0, unlinkat(AT_FDCWD, "dir", AT_REMOVEDIR));
}

CASE(links_count_and_point)
{
	char *target = guarded(16);
	struct stat st;

	close(file_of("file", "x", 1));
	GIVES(0, link("file", "hard"));
	GIVES(0, symlink("file", "soft"));
	GIVES(0, stat("hard", &st));
	CHECK(st.st_nlink == 2);
	GIVES(4, readlink("soft", target, 16));
	CHECK(memcmp(target, "file", 4) == 0);
	GIVES(2, readlink("soft", guarded(2), 2));
	FAILS(EINVAL, readlink("file", target, 16));
	FAILS(EINVAL, readlink("soft", target, 0));
	GIVES(0, lstat("soft", &st));
	CHECK(S_ISLNK(st.st_mode));
	GIVES(0, symlink("loop", "loop"));
	FAILS(ELOOP, open("loop", O_RDONLY));
	FAILS(ELOOP, open("soft", O_RDONLY | O_NOFOLLOW));
}

CASE(extended_attributes_keep_values_and_sizes)
{
	char *value = guarded(5);
	char *list = guarded(10);
	int fd = file_of("a", "x", 1);

	if (setxattr("a", "user.one", "12345", 5, XATTR_CREATE) != 0 && errno == ENOTSUP)
		skip("this filesystem has no user attributes");
	GIVES(5, getxattr("a", "user.one", NULL, 0));
	GIVES(5, fgetxattr(fd, "user.one", value, 5));
	CHECK(memcmp(value, "12345", 5) == 0);
	FAILS(ERANGE, getxattr("a", "user.one", value, 4));
	FAILS(ENODATA, getxattr("a", "user.two", value, 5));
	FAILS(EEXIST, fsetxattr(fd, "user.one", "z", 1, XATTR_CREATE));
	GIVES(9, listxattr("a", NULL, 0));
	GIVES(9, flistxattr(fd, list, 10));
	CHECK(memcmp(list, "user.one", 9) == 0);
	GIVES(0, removexattr("a", "user.one"));
	GIVES(0, listxattr("a", list, 10));
}

CASE(the_stat_family_agrees)
{
	struct stat *st = guarded(sizeof(*st));
	struct statx *stx = guarded(sizeof(*stx));
	int fd = file_of("a", "abc", 3);

	GIVES(0, fstat(fd, st));
	GIVES(0, statx(AT_FDCWD, guarded_string("a"), 0, STATX_BASIC_STATS, stx));
	CHECK(st->st_size == 3 && stx->stx_size == 3 && stx->stx_ino == st->st_ino);
	GIVES(0, statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, stx));
	CHECK(stx->stx_size == 3);
	GIVES(0, fstatat(fd, "", st, AT_EMPTY_PATH));
	CHECK(S_ISREG(st->st_mode) && (st->st_mode & 0777) == 0644);
	GIVES(0, chmod("a", 0400));
	GIVES(0, fchmod(fd, 0640));
	GIVES(0, stat("a", st));
	CHECK((st->st_mode & 0777) == 0640);
	FAILS(ENOENT, stat("absent", st));
	FAILS(ENOTDIR, stat("a/b", st));
}

CASE(times_are_set_and_read_to_the_nanosecond)
{
	struct timespec times[2] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };
	struct stat st;
	int fd = file_of("a", "abc", 3);

	GIVES(0, utimensat(AT_FDCWD, "a", guarded_copy(times, sizeof(times)), 0));
	GIVES(0, fstat(fd, &st));
	CHECK(st.st_atim.tv_nsec == 123456789 && st.st_mtim.tv_sec == 1100000000);
	GIVES(0, futimens(fd, NULL));
	GIVES(0, fstat(fd, &st));
	CHECK(st.st_mtim.tv_sec > 1700000000);
}

CASE(bytes_move_between_descriptors_inside_the_kernel)
{
	int from = file_of("from", "0123456789", 10);
	int to = (int)SYS(open("to", O_RDWR | O_CREAT, 0600));
	off_t *offset = guarded_copy(&(off_t){ 2 }, sizeof(off_t));
	loff_t *in = guarded_copy(&(loff_t){ 1 }, sizeof(loff_t));
	loff_t *out = guarded_copy(&(loff_t){ 20 }, sizeof(loff_t));
	int pipe_fds[2], other[2];
	char *back = guarded(8);

	GIVES(8, sendfile(to, from, offset, 100));
	CHECK(*offset == 10 && lseek(from, 0, SEEK_CUR) == 0 && lseek(to, 0, SEEK_CUR) == 8);
	GIVES(10, sendfile(to, from, NULL, 100));
	GIVES(9, copy_file_range(from, in, to, out, 9, 0));
	CHECK(*in == 10 && *out == 29);
	GIVES(0, pipe(pipe_fds));
	GIVES(0, pipe(other));
	*in = 3;
	GIVES(7, splice(from, in, pipe_fds[1], NULL, 100, 0));
	CHECK(*in == 10);
	GIVES(7, tee(pipe_fds[0], other[1], 100, 0));
	GIVES(7, read(pipe_fds[0], back, 8));
	CHECK(memcmp(back, "3456789", 7) == 0);
	GIVES(7, splice(other[0], NULL, to, NULL, 7, SPLICE_F_MOVE));
	FAILS(ESPIPE, splice(other[0], in, to, NULL, 7, 0));
}

CASE(syncing_calls_succeed_on_files_and_refuse_pipes)
{
	int pipe_fds[2];
	int fd = file_of("a", "abc", 3);

	GIVES(0, fsync(fd));
	GIVES(0, fdatasync(fd));
	GIVES(0, sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	GIVES(0, syncfs(fd));
	GIVES(0, posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	GIVES(0, readahead(fd, 0, 4096));
	GIVES(0, fsync((int)SYS(open(".", O_RDONLY))));
	GIVES(0, pipe(pipe_fds));
	FAILS(EINVAL, fsync(pipe_fds[0]));
	FAILS(ESPIPE, lseek(pipe_fds[0], 0, SEEK_SET));
}

CASE(the_working_directory_moves_and_is_named)
{
	char *before = getcwd(NULL, 0);
	char *now = guarded(256);
	int home = (int)SYS(open(".", O_RDONLY));

	CHECK(before != NULL);
	GIVES(0, mkdir("below", 0755));
	GIVES(0, chdir("below"));
	CHECK(getcwd(now, 256) != NULL && strcmp(strrchr(now, '/'), "/below") == 0);
	close(file_of("made-below", "x", 1));
	GIVES(0, fchdir(home));
	CHECK(strcmp(before, getcwd(now, 256)) == 0);
	GIVES(0, access("below/made-below", R_OK | W_OK));
	FAILS(ERANGE, syscall(SYS_getcwd, now, 2));
	FAILS(ENOTDIR, chdir("below/made-below"));
}

CASE(openat2_resolves_as_told)
{
	struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_BENEATH };
	struct open_how *guarded_how = guarded_copy(&how, sizeof(how));
	int fd;

	close(file_of("a", "abc", 3));
	fd = (int)SYS(syscall(SYS_openat2, AT_FDCWD, guarded_string("a"), guarded_how, sizeof(how)));
	GIVES(0, close(fd));
	FAILS(EXDEV, syscall(SYS_openat2, AT_FDCWD, "../a", guarded_how, sizeof(how)));
	FAILS(EINVAL, syscall(SYS_openat2, AT_FDCWD, "a", guarded_how, 8));
}

CASE(stdio_writes_and_reads_a_megabyte_by_lines)
{
	FILE *file = fopen("lines", "w+");
	char *line = NULL;
	size_t room = 0;
	int count = 0;

	CHECK(file != NULL);
	for (int i = 0; i < 50000; i++)
		CHECK(fprintf(file, "line %d of the file\n", i) > 0);
	CHECK(fseek(file, 0, SEEK_SET) == 0);
	while (getline(&line, &room, file) > 0) {
		int number = -1;

		CHECK(sscanf(line, "line %d of", &number) == 1 && number == count);
		count++;
	}
	CHECK(count == 50000 && feof(file) && fclose(file) == 0);
}
