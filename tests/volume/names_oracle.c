/*
 * names_oracle.c - random calls on a volume and on a directory of the kernel's: results, errors and trees must be the same.
 *
 * Owns: the calls' choice, the comparison. Must never: go on after a difference. Usage: names_oracle DIRECTORY SEED STEPS
 * [FAIL]; needs root or user namespaces, for chroot. With FAIL, writes fail now and then: then only that the volume stays sound
 * is looked at. Run by: test_names.py.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "calls.h"

enum { STARTS = 4, TREE_EVERY = 40, NAMES = 2000, INODES = 1 << 17, PATH_SIZE = 8192 };

static struct caller caller;
static int start_fd[STARTS];
static struct vol_inode *start[STARTS];
static uint64_t state, step, seed;
static char what[3 * PATH_SIZE];
static bool is_real_root, is_failing;

static uint32_t pick(uint32_t count)
{
	state = state * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)(state >> 33) % count;
}

static void differ(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	fprintf(stderr, "seed %lu, step %lu: %s: ", seed, step, what);
	vfprintf(stderr, format, list);
	fprintf(stderr, "\n");
	abort();
}

static const char *any_name(void)
{
	static const char *const names[] = { "a", "b", "c", "d", "e", "f", "name-of-twenty-bytes", ".hidden", "...", "x y" };
	static char size[300];

	if (pick(40))
		return names[pick(pick(3) ? 4 : 10)];
	memset(size, 'n', sizeof size);
	size[254 + pick(3)] = '\0';
	return size;
}

static void any_path(char *path)
{
	uint32_t count = pick(12) ? 1 + pick(3) : pick(8);

	*path = '\0';
	if (!pick(60)) {
		memset(path, 'p', 5000);
		for (int i = 0; i < 5000; i += 100)
			path[i] = '/';
		strcpy(path, pick(2) ? "a" : "");
		return;
	}
	if (!pick(20) && (caller.directory->record.nlink))
		strcat(path, "./");
	for (uint32_t i = 0; i < count; i++) {
		uint32_t special = pick(16);

		strcat(path, special == 0 ? "." : special == 1 ? ".." : any_name());
		if (i + 1 < count || !pick(12))
			strcat(path, pick(10) ? "/" : "///");
	}
}

static void any_target(char *target)
{
	char path[PATH_SIZE];

	any_path(path);
	strcpy(target, !pick(5) ? pick(4) ? "/data/" : "/data" : !pick(8) ? "../" : "");
	strcat(target, path);
	if (!pick(30))
		memset(target, 't', 4090 + pick(10)), target[4090 + pick(8)] = '\0';
}

static uint32_t any_mode(void)
{
	static const uint32_t modes[] = { 0777, 0755, 0700, 0770, 0750, 0711, 0733, 0777, 0555, 01775, 01770, 02775, 02711, 0644 };

	return modes[pick(sizeof modes / sizeof *modes)];
}

static const struct vol_who users[] = {
	{ .uid = 0 }, { .uid = 1001, .gid = 101 }, { .uid = 1002, .gid = 101 }, { .uid = 1003, .gid = 103, .group_count = 1, .groups = { 101 } },
};

static void become(const struct vol_who *who)
{
	gid_t groups[1] = { who->groups[0] };

	if (is_real_root && (setgroups(who->group_count, groups) || setresgid((gid_t)-1, who->gid, (gid_t)-1) ||
			     setresuid((uid_t)-1, who->uid, (uid_t)-1)))
		differ("credentials");
}

static void become_root(void)
{
	if (is_real_root && (setresuid((uid_t)-1, 0, (uid_t)-1) || setresgid((gid_t)-1, 0, (gid_t)-1)))
		differ("credentials");
}

static long native(long result)
{
	return result < 0 ? -errno : result;
}

struct call { const char *name; uint32_t kind; char one[PATH_SIZE], other[PATH_SIZE]; uint32_t number, mode; };

enum { MKNOD, MKDIR, OPEN, LINK, SYMLINK, UNLINK, RMDIR, RENAME, CHMOD, CHOWN, STAT, READLINK, KINDS };

static const struct { const char *name; uint32_t weight; } kinds[KINDS] = {
	[MKNOD]    = { "mknod",    4 },
	[MKDIR]    = { "mkdir",   10 },
	[OPEN]     = { "open",    10 },
	[LINK]     = { "link",     7 },
	[SYMLINK]  = { "symlink",  7 },
	[UNLINK]   = { "unlink",   9 },
	[RMDIR]    = { "rmdir",    5 },
	[RENAME]   = { "rename",  16 },
	[CHMOD]    = { "chmod",    3 },
	[CHOWN]    = { "chown",    3 },
	[STAT]     = { "stat",     8 },
	[READLINK] = { "readlink", 3 },
};

static long ours(const struct call *call, char *text, struct facts *facts)
{
	switch (call->kind) {
	case MKNOD:
		return call_mknod(&caller, call->one, S_IFIFO | call->mode);
	case MKDIR:
		return call_mkdir(&caller, call->one, call->mode & 01777);
	case OPEN:
		return call_open(&caller, call->one, call->number, call->mode);
	case LINK:
		return call_link(&caller, call->one, call->other, call->number & 1);
	case SYMLINK:
		return call_symlink(&caller, call->other, call->one);
	case UNLINK:
		return call_unlink(&caller, call->one);
	case RMDIR:
		return call_rmdir(&caller, call->one);
	case RENAME:
		return call_rename(&caller, call->one, call->other, call->number);
	case CHMOD:
		return call_chmod(&caller, call->one, call->mode);
	case CHOWN:
		return call_chown(&caller, call->one, call->number, call->mode);
	case STAT:
		return call_stat(&caller, call->one, call->number & 1, facts);
	default:
		return call_readlink(&caller, call->one, text, 300);
	}
}

static long stat_native(const struct call *call, struct facts *facts)
{
	struct stat status;
	long result = native(fstatat(AT_FDCWD, call->one, &status, call->number & 1 ? 0 : AT_SYMLINK_NOFOLLOW));

	if (!result)
		*facts = (struct facts){ .mode = status.st_mode, .nlink = (uint32_t)status.st_nlink, .uid = status.st_uid,
					 .gid = status.st_gid, .size = (uint64_t)status.st_size };
	return result;
}

static long theirs(const struct call *call, char *text, struct facts *facts)
{
	long result;

	switch (call->kind) {
	case MKNOD:
		return native(mknod(call->one, S_IFIFO | call->mode, 0));
	case MKDIR:
		return native(mkdir(call->one, call->mode & 01777));
	case OPEN:
		result = native(open(call->one, (int)call->number | O_NONBLOCK, call->mode));
		if (result >= 0)
			close((int)result);
		return result > 0 ? 0 : result == -ENXIO ? 0 : result;	/* a fifo without a reader */
	case LINK:
		return native(linkat(AT_FDCWD, call->one, AT_FDCWD, call->other, call->number & 1 ? AT_SYMLINK_FOLLOW : 0));
	case SYMLINK:
		return native(symlink(call->other, call->one));
	case UNLINK:
		return native(unlink(call->one));
	case RMDIR:
		return native(rmdir(call->one));
	case RENAME:
		return native(renameat2(AT_FDCWD, call->one, AT_FDCWD, call->other, call->number));
	case CHMOD:
		return native(chmod(call->one, call->mode));
	case CHOWN:
		return native(lchown(call->one, call->number, call->mode));
	case STAT:
		return stat_native(call, facts);
	default:
		return native(readlink(call->one, text, 300));
	}
}

static void choose(struct call *call)
{
	static const uint32_t opens[] = { O_CREAT | O_WRONLY, O_CREAT | O_EXCL | O_WRONLY, O_RDONLY, O_WRONLY, O_CREAT | O_RDONLY,
					  O_CREAT | O_NOFOLLOW | O_WRONLY, O_RDONLY | O_NOFOLLOW };
	uint32_t total = 0, at;

	memset(call, 0, sizeof *call);
	for (int i = 0; i < KINDS; i++)
		total += kinds[i].weight;
	at = pick(total);
	while (at >= kinds[call->kind].weight)
		at -= kinds[call->kind++].weight;
	call->name = kinds[call->kind].name;
	any_path(call->one);
	if (call->kind == SYMLINK)
		any_target(call->other);
	else
		any_path(call->other);
	call->mode = call->kind == CHOWN ? (pick(2) ? 101 : 103) : any_mode();
	call->number = call->kind == OPEN ? opens[pick(7)] : call->kind == CHOWN ? users[pick(4)].uid : pick(4);
	if (call->kind == RENAME && call->number != 1 && call->number != 2)
		call->number = pick(20) ? 0 : 3;
}

/* ---- trees ---- */

struct entry { char name[256]; uint64_t ino; uint32_t type; };

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static long take(struct entry *entries, long count, const uint8_t *bytes, long size)
{
	for (long at = 0; at < size; count++) {
		const struct dirent64 *entry = (const void *)(bytes + at);

		if (count == NAMES)
			differ("too many names");
		entries[count] = (struct entry){ .ino = entry->d_ino, .type = entry->d_type };
		strcpy(entries[count].name, entry->d_name);
		at += entry->d_reclen;
	}
	return count;
}

static long list_ours(struct vol_inode *directory, struct entry *entries)
{
	uint8_t bytes[4096] __attribute__((aligned(8)));
	uint64_t position = 0, room = 280 + pick(3800);
	long count = 0, size;

	while ((size = names_list(caller.volume, directory, &position, bytes, room)) > 0)
		count = take(entries, count, bytes, size);
	if (size < 0 && size != -ENOENT)
		differ("listing: %ld", size);
	qsort(entries, (size_t)count, sizeof *entries, by_name);
	return size < 0 ? size : count;
}

static long list_theirs(int fd, struct entry *entries)
{
	uint8_t bytes[4096] __attribute__((aligned(8)));
	long count = 0, size;

	lseek(fd, 0, SEEK_SET);
	while ((size = native(syscall(SYS_getdents64, fd, bytes, sizeof bytes))) > 0)
		count = take(entries, count, bytes, size);
	qsort(entries, (size_t)count, sizeof *entries, by_name);
	return size < 0 ? size : count;
}

static uint64_t number_of[INODES];	/* the kernel's, of ours; 0: not met yet */

static void meet(uint64_t our, uint64_t their)
{
	if (number_of[our] && number_of[our] != their)
		differ("inode %lu is another one's", our);
	number_of[our] = their;
}

static void compare_entry(int fd, const struct entry *our, uint32_t *is_directory_too)
{
	struct vol_inode *inode;
	struct stat status;

	if (inode_get(caller.volume, our->ino, &inode))
		differ("%s: no inode", our->name);
	if (fstatat(fd, our->name, &status, AT_SYMLINK_NOFOLLOW))
		differ("%s: stat", our->name);
	meet(our->ino, status.st_ino);
	if (inode->record.mode != status.st_mode || inode->record.nlink != status.st_nlink || inode->record.uid != status.st_uid ||
	    inode->record.gid != status.st_gid || (S_ISLNK(status.st_mode) && (long)inode->record.size != status.st_size))
		differ("%s: mode %o, %o, nlink %u, %lu, owner %u.%u, %u.%u", our->name, inode->record.mode, status.st_mode,
		       inode->record.nlink, status.st_nlink, inode->record.uid, inode->record.gid, status.st_uid, status.st_gid);
	*is_directory_too = S_ISDIR(status.st_mode);
	inode_put(caller.volume, inode);
}

static void compare_directory(int fd, struct vol_inode *directory, bool is_deep)
{
	struct entry *our = malloc(2 * NAMES * sizeof *our), *their = our + NAMES;
	long our_count = list_ours(directory, our), their_count = list_theirs(fd, their);
	uint32_t is_directory;

	if (our_count != their_count)
		differ("names: %ld, not %ld", our_count, their_count);
	for (long i = 0; i < our_count; i++) {
		bool is_dots = !strcmp(our[i].name, ".") || !strcmp(our[i].name, "..");
		struct vol_inode *inode;
		int inner;

		if (strcmp(our[i].name, their[i].name) || our[i].type != their[i].type)
			differ("names: %s (%u), not %s (%u)", our[i].name, our[i].type, their[i].name, their[i].type);
		if (!is_deep || (is_dots && directory->ino == VOLUME_ROOT_INO))
			continue;
		compare_entry(fd, &our[i], &is_directory);
		if (!is_directory || is_dots)
			continue;
		inner = openat(fd, our[i].name, O_RDONLY | O_DIRECTORY);
		if (inner < 0 || inode_get(caller.volume, our[i].ino, &inode))
			differ("%s can't be opened", our[i].name);
		compare_directory(inner, inode, true);
		close(inner);
		inode_put(caller.volume, inode);
	}
	free(our);
}

/* Without the kernel's: entries, links and parents agree. Returns inodes reached by names, with the directory's. */
static uint64_t check_directory(struct vol_inode *directory, uint32_t *links)
{
	struct entry *our = malloc(NAMES * sizeof *our);
	long count = list_ours(directory, our);
	uint32_t subdirectories = 0;
	uint64_t inodes = 1;

	for (long i = 0; i < count; i++) {
		struct vol_inode *inode;

		if (!strcmp(our[i].name, ".") || !strcmp(our[i].name, ".."))
			continue;
		if (inode_get(caller.volume, our[i].ino, &inode))
			differ("%s: no inode", our[i].name);
		if (!S_ISDIR(inode->record.mode)) {
			inodes += !links[inode->ino]++;
		} else {
			subdirectories++;
			if (inode->record.parent != directory->ino)
				differ("%s: another parent", our[i].name);
			inodes += check_directory(inode, links);
		}
		inode_put(caller.volume, inode);
	}
	if (directory->record.nlink != 2 + subdirectories)
		differ("inode %lu: %u links, not %u", directory->ino, directory->record.nlink, 2 + subdirectories);
	free(our);
	return inodes;
}

static void check_tree(void)
{
	uint32_t *links = calloc(INODES, sizeof *links);
	struct vol_inode *root, *inode;

	if (inode_get(caller.volume, VOLUME_ROOT_INO, &root))
		differ("no root");
	check_directory(root, links);
	for (uint64_t i = 1; i < INODES; i++) {
		if (!links[i])
			continue;
		if (inode_get(caller.volume, i, &inode) || inode->record.nlink != links[i])
			differ("inode %lu: %u links, not %u", i, inode->record.nlink, links[i]);
		inode_put(caller.volume, inode);
	}
	inode_put(caller.volume, root);
	free(links);
}

static void compare_tree(void)
{
	struct vol_inode *root;
	int fd = open("/data", O_RDONLY | O_DIRECTORY);

	if (fd < 0 || inode_get(caller.volume, VOLUME_ROOT_INO, &root))
		differ("no root");
	memset(number_of, 0, sizeof number_of);
	compare_directory(fd, root, true);
	inode_put(caller.volume, root);
	close(fd);
}

/* Another directory is where relative paths begin; the old one may be removed meanwhile. */
static void move_start(uint32_t i)
{
	struct vol_where where;
	char path[PATH_SIZE];
	int fd;

	any_path(path);
	if (fchdir(start_fd[i]))
		return;
	if (is_failing) {
		if (names_walk(caller.volume, start[i], path, "/data", WALK_FOLLOW, &users[0], &where))
			return;
		if (where.inode && S_ISDIR(where.inode->record.mode)) {
			inode_share(where.inode);
			inode_put(caller.volume, start[i]);
			start[i] = where.inode;
		}
		names_release(caller.volume, &where);
		return;
	}
	fd = openat(start_fd[i], path, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return;
	if (names_walk(caller.volume, start[i], path, "/data", WALK_FOLLOW, &users[0], &where))
		differ("start %s", path);
	if (!where.inode) {		/* outside */
		close(fd);
		names_release(caller.volume, &where);
		return;
	}
	inode_share(where.inode);
	inode_put(caller.volume, start[i]);
	close(start_fd[i]);
	start[i] = where.inode;
	start_fd[i] = fd;
	names_release(caller.volume, &where);
}

static void compare_path(uint32_t i)
{
	char our[PATH_SIZE], their[PATH_SIZE];
	long our_size = names_path(caller.volume, start[i], our, sizeof our);
	long their_size = native(syscall(SYS_getcwd, their, sizeof their));

	if (their_size < 0 || our_size < 0) {
		if (our_size != their_size)
			differ("getcwd: %ld, not %ld", our_size, their_size);
		return;
	}
	if (strncmp(their, "/data", 5) || strcmp(our, their[5] ? their + 5 : "/") || our_size != (long)strlen(our))
		differ("getcwd: %s, not %s", our, their);
}

static void one_step(void)
{
	char our_text[300] = "", their_text[300] = "";
	struct facts our_facts = { 0 }, their_facts = { 0 };
	struct call call;
	uint32_t i = pick(STARTS);
	long our, their;

	if (!pick(10))
		move_start(i);
	caller.directory = start[i];
	choose(&call);
	caller.who = users[is_real_root && pick(2) && call.kind != CHMOD && call.kind != CHOWN ? 1 + pick(3) : 0];
	snprintf(what, sizeof what, "start %u (%lu), uid %u: %s(\"%s\", \"%s\", %u, %o)", i, start[i]->ino, caller.who.uid, call.name,
		 call.one, call.other, call.number, call.mode);
	call_went_out = false;
	if (is_failing && !pick(4))
		standin_fail(1 + pick(4), 1 + pick(3));	/* more than one: undoing fails, too, and is done later */
	our = ours(&call, our_text, &our_facts);
	if (is_failing)
		standin_fail(0, 0);
	if (is_failing) {
		check_tree();
		return;
	}
	if (fchdir(start_fd[i]))
		differ("fchdir");
	if (call_went_out && call.kind != STAT) {
		if (our >= 0 && call.kind != OPEN && call.kind != READLINK)
			differ("done outside");
		return;
	}
	become(&caller.who);
	their = theirs(&call, their_text, &their_facts);
	become_root();
	if (getenv("VERBOSE"))
		fprintf(stderr, "%lu: %s = %ld, %ld\n", step, what, our, their);
	/* A loop of links that grows meets the end of where->path before it meets the number of links. */
	if (our != their && !(our == -ENAMETOOLONG && their == -ELOOP))
		differ("%ld, not %ld", our, their);
	if (memcmp(our_text, their_text, sizeof our_text))
		differ("\"%s\", not \"%s\"", our_text, their_text);
	if (call.kind == STAT && !our && !call_went_out &&
	    (our_facts.mode != their_facts.mode || our_facts.nlink != their_facts.nlink))
		differ("mode %o, %o, nlink %u, %u", our_facts.mode, their_facts.mode, our_facts.nlink, their_facts.nlink);
	compare_directory(start_fd[i], start[i], false);
	compare_path(i);
	if (step % TREE_EVERY == 0)
		compare_tree();
}

/* chroot needs a capability; as another user it comes from a user namespace. */
static void enter_root(const char *directory)
{
	char map[64];
	uid_t uid = getuid();
	int fd;

	is_real_root = !uid;
	if (uid) {
		if (unshare(CLONE_NEWUSER))
			exit(77);
		snprintf(map, sizeof map, "0 %u 1", uid);
		fd = open("/proc/self/uid_map", O_WRONLY);
		if (fd < 0 || write(fd, map, strlen(map)) < 0)
			exit(77);
	}
	umask(0);
	if (chdir(directory) || mkdir("data", 0777) || chroot(".") || chdir("/data"))
		exit(77);
}

int main(int count, char **argument)
{
	uint64_t steps;

	if (count < 4)
		return 2;
	seed = state = strtoul(argument[2], NULL, 0);
	steps = strtoul(argument[3], NULL, 0);
	is_failing = count > 4;
	enter_root(argument[1]);
	caller.volume = standin_volume();
	for (int i = 0; i < STARTS; i++) {
		start_fd[i] = open("/data", O_RDONLY | O_DIRECTORY);
		if (start_fd[i] < 0 || inode_get(caller.volume, VOLUME_ROOT_INO, &start[i]))
			return 3;
	}
	for (step = 1; step <= steps; step++)
		one_step();
	check_tree();
	printf("%lu steps, %u inodes\n", steps, standin_inodes());
	return 0;
}
