/*
 * names_cases.c - names of a volume, case by case: what random calls don't meet, or where the kernel is no measure.
 *
 * Owns: the cases; each has a new volume. Must never: depend on another. Run by: test_names.py.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "calls.h"
#include "cases.h"
#include "../../libshim/volume/names_tree.h"

enum { MANY = 3000, REG = S_IFREG | 0644 };

static struct caller caller;
static struct vol_where where;

static void begin(void)
{
	caller = (struct caller){ .volume = standin_volume() };
	IS(inode_get(caller.volume, VOLUME_ROOT_INO, &caller.directory), 0);
}

static struct vol_inode *inode_of(const char *path)
{
	struct vol_inode *inode;

	IS(names_walk(caller.volume, caller.directory, path, "/data", 0, &caller.who, &where), 0);
	IS(where.inode != NULL, true);
	inode = where.inode;
	inode_share(inode);
	names_release(caller.volume, &where);
	return inode;
}

static struct facts facts_of(const char *path)
{
	struct facts facts;

	IS(call_stat(&caller, path, false, &facts), 0);
	return facts;
}

/* Where a walk leads: the path outside, or "in:" and the last name. */
static const char *led(const char *path, uint32_t flags)
{
	static char text[8192];
	long result = names_walk(caller.volume, caller.directory, path, "/data", flags, &caller.who, &where);

	if (result)
		snprintf(text, sizeof text, "%ld", result);
	else if (!where.directory)
		snprintf(text, sizeof text, "%s", where.path);
	else
		snprintf(text, sizeof text, "in:%s%s%s", where.name, where.inode ? "" : " (new)", where.must_be_directory ? " /" : "");
	if (!result)
		names_release(caller.volume, &where);
	return text;
}

#define LEADS(path, flags, wanted) do { \
	const char *led_ = led(path, flags); \
	if (strcmp(led_, wanted)) { \
		fprintf(stderr, "%s:%d: %s leads to \"%s\", not \"%s\"\n", __FILE__, __LINE__, path, led_, wanted); \
		abort(); \
	} \
} while (0)

static void a_link_leads_out_or_in_as_its_target_says(void)
{
	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	IS(call_mknod(&caller, "d/file", REG), 0);
	IS(call_symlink(&caller, "/etc", "etc"), 0);
	IS(call_symlink(&caller, "/data/d", "inside"), 0);
	IS(call_symlink(&caller, "/data", "top"), 0);
	IS(call_symlink(&caller, "/database", "beside"), 0);
	IS(call_symlink(&caller, "../../x", "d/up"), 0);
	IS(call_symlink(&caller, "d/", "slash"), 0);
	LEADS("etc", 0, "in:etc");
	LEADS("etc", WALK_FOLLOW, "/etc");
	LEADS("etc/", 0, "/etc/");
	LEADS("etc/passwd", 0, "/etc/passwd");
	LEADS("d/../etc//a/b/", 0, "/etc//a/b/");
	LEADS("inside/file", 0, "in:file");
	LEADS("inside/none", 0, "in:none (new)");
	LEADS("inside/none/x", 0, "-2");
	LEADS("top", WALK_FOLLOW, "in:");
	LEADS("top/d/", 0, "in:d /");
	LEADS("beside", WALK_FOLLOW, "/database");
	LEADS("d/up", WALK_FOLLOW, "/data/../x");
	LEADS("d/up/y", 0, "/data/../x/y");
	LEADS("slash", WALK_FOLLOW, "in:d /");
	LEADS("slash/", 0, "in:d /");
	LEADS("slash/", WALK_NAME, "in:slash /");
	LEADS("slash/..", WALK_NAME, "in:..");
	LEADS("d/file/", WALK_NAME, "in:file /");
	LEADS("d/new/", WALK_NAME, "in:new (new) /");
	LEADS("..", 0, "/data/..");
	LEADS("../", 0, "/data/../");
	LEADS("../data/d", 0, "/data/../data/d");
	LEADS("/", 0, "in:");
	LEADS("///", WALK_PARENT_ONLY, "in:");
	LEADS("/d/.", 0, "in:.");
	LEADS("/d/..", 0, "in:..");
	LEADS("..", WALK_PARENT_ONLY, "in:.. (new)");
	LEADS("d/file/", 0, "-20");
	LEADS("d/file/..", 0, "-20");
	LEADS("d/new/", WALK_CREATE, "-21");
	LEADS("", 0, "-2");
}

static void with_the_volume_at_the_root_nothing_leads_out(void)
{
	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	IS(call_symlink(&caller, "/d", "link"), 0);
	IS(names_walk(caller.volume, caller.directory, "../../link/../d/..", "/", 0, &caller.who, &where), 0);
	IS(where.inode->ino, VOLUME_ROOT_INO);
	names_release(caller.volume, &where);
}

static void sticky_and_setgid(void)
{
	static const struct { uint32_t mode, owner, gid, file_owner, uid, group; long removed; } rows[] = {
		{ 01777, 1, 0, 2, 3, 9,  -EPERM  },	/* neither */
		{ 01777, 1, 0, 2, 2, 9,  0       },	/* the file's owner */
		{ 01777, 1, 0, 2, 1, 9,  0       },	/* the directory's */
		{ 01777, 1, 0, 2, 0, 9,  0       },	/* root */
		{ 0777,  1, 0, 2, 3, 9,  0       },	/* not sticky */
		{ 01770, 1, 7, 2, 3, 9,  -EACCES },	/* not in its group */
		{ 01770, 1, 7, 2, 3, 7,  -EPERM  },
		{ 0775,  1, 7, 2, 3, 7,  0       },
		{ 0755,  1, 7, 2, 2, 7,  -EACCES },	/* the file's owner needs to write, too */
		{ 0666,  1, 7, 2, 3, 7,  -EACCES },	/* no x */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct volume_record record = { .mode = REG, .uid = rows[i].file_owner };
		struct vol_inode *directory, *file;

		begin();
		IS(call_mkdir(&caller, "d", 0777), 0);
		directory = inode_of("d");
		IS(names_create(caller.volume, directory, "f", 1, &record, &caller.who, &file), 0);
		IS(call_chmod(&caller, "d", rows[i].mode), 0);
		IS(call_chown(&caller, "d", rows[i].owner, rows[i].gid), 0);
		caller.who = (struct vol_who){ .uid = rows[i].uid, .gid = rows[i].group };
		IS(names_unlink(caller.volume, directory, "f", 1, false, &caller.who), rows[i].removed);
		inode_put(caller.volume, file);
		inode_put(caller.volume, directory);
	}
	begin();
	IS(call_mkdir(&caller, "d", 02777), 0);
	IS(call_chmod(&caller, "d", 02777), 0);
	IS(call_chown(&caller, "d", 5, 55), 0);
	caller.who = (struct vol_who){ .uid = 7, .gid = 77 };
	IS(call_mkdir(&caller, "d/inner", 0755), 0);
	IS(call_mknod(&caller, "d/file", S_IFREG | 02755), 0);
	IS(facts_of("d/inner").mode, S_IFDIR | 02755);
	IS(facts_of("d/inner").gid, 55);
	IS(facts_of("d/file").mode, S_IFREG | 0755);
	IS(facts_of("d/file").gid, 55);
}

static void a_file_without_a_name_gets_one_only_if_it_never_had_one(void)
{
	struct volume_record record = { .mode = REG };
	struct vol_inode *temporary, *removed;

	begin();
	IS(inode_new(caller.volume, &record, &temporary), 0);
	IS(names_link(caller.volume, temporary, caller.directory, "a", 1, &caller.who), 0);
	IS(facts_of("a").nlink, 1);
	removed = inode_of("a");
	IS(call_unlink(&caller, "a"), 0);
	IS(names_link(caller.volume, removed, caller.directory, "a", 1, &caller.who), -ENOENT);
	inode_put(caller.volume, removed);
	inode_put(caller.volume, temporary);
	record.parent = NAMES_WAS_NAMED;
	IS(inode_new(caller.volume, &record, &temporary), 0);
	temporary->record.parent = NAMES_WAS_NAMED;
	IS(names_link(caller.volume, temporary, caller.directory, "a", 1, &caller.who), -ENOENT);
	inode_put(caller.volume, temporary);
}

static void links_end_at_65000(void)
{
	struct vol_inode *file, *directory;

	begin();
	IS(call_mknod(&caller, "f", REG), 0);
	IS(call_mkdir(&caller, "d", 0777), 0);
	file = inode_of("f");
	directory = inode_of("d");
	file->record.nlink = directory->record.nlink = 65000;
	IS(call_link(&caller, "f", "g", false), -EMLINK);
	IS(call_mkdir(&caller, "d/new", 0777), -EMLINK);
	IS(call_mkdir(&caller, "other", 0777), 0);
	IS(call_rename(&caller, "other", "d/other", 0), -EMLINK);
	directory->record.nlink = 2;
	file->record.nlink = 1;
	inode_put(caller.volume, file);
	inode_put(caller.volume, directory);
}

static bool is_later(const struct volume_time *a, const struct volume_time *b)
{
	return a->seconds > b->seconds || (a->seconds == b->seconds && a->nanoseconds > b->nanoseconds);
}

/* Which times a call moved: 1: the directory's mtime, 2: its ctime, 4: the file's mtime, 8: its ctime. */
static int moved(struct vol_inode *directory, struct vol_inode *file, long (*call)(void))
{
	struct volume_record old_directory = directory->record, old_file = file->record;
	struct timespec pause = { .tv_nsec = 1000 };

	nanosleep(&pause, NULL);
	IS(call(), 0);
	return is_later(&directory->record.modified, &old_directory.modified) |
	       is_later(&directory->record.changed, &old_directory.changed) << 1 |
	       is_later(&file->record.modified, &old_file.modified) << 2 | is_later(&file->record.changed, &old_file.changed) << 3;
}

static long do_link(void) { return call_link(&caller, "f", "d/f", false); }
static long do_unlink(void) { return call_unlink(&caller, "d/f"); }
static long do_rename(void) { return call_rename(&caller, "f", "d/f", 0); }
static long do_replace(void) { return call_rename(&caller, "g", "d/f", 0); }
static long do_mkdir(void) { return call_mkdir(&caller, "d/new", 0777); }
static long do_stat(void) { struct facts facts; return call_stat(&caller, "d/f", false, &facts); }

static void times_move_as_natively(void)
{
	struct vol_inode *directory, *file;

	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	IS(call_mknod(&caller, "f", REG), 0);
	IS(call_mknod(&caller, "g", REG), 0);
	directory = inode_of("d");
	file = inode_of("f");
	IS(moved(directory, file, do_link), 1 | 2 | 8);
	IS(moved(directory, file, do_unlink), 1 | 2 | 8);
	IS(moved(directory, file, do_rename), 1 | 2 | 8);
	IS(moved(caller.directory, file, do_stat), 0);
	IS(moved(directory, file, do_replace), 1 | 2 | 8);
	IS(moved(directory, file, do_mkdir), 1 | 2);
	IS(moved(directory, caller.directory, do_stat), 0);
	inode_put(caller.volume, directory);
	inode_put(caller.volume, file);
}

static void in_a_removed_directory_there_is_nothing(void)
{
	uint8_t bytes[512] __attribute__((aligned(8)));
	uint64_t position = 0;
	struct facts facts;
	char path[64];

	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	caller.directory = inode_of("d");
	IS(call_rmdir(&caller, "/d"), 0);
	IS(call_stat(&caller, "x", true, &facts), -ENOENT);
	IS(call_mknod(&caller, "x", REG), -ENOENT);
	IS(call_mkdir(&caller, "x", 0777), -ENOENT);
	IS(call_stat(&caller, ".", true, &facts), 0);
	IS(facts.nlink, 0);
	IS(call_stat(&caller, "..", true, &facts), 0);
	IS(facts.ino, VOLUME_ROOT_INO);
	IS(names_list(caller.volume, caller.directory, &position, bytes, sizeof bytes), -ENOENT);
	IS(names_path(caller.volume, caller.directory, path, sizeof path), -ENOENT);
	inode_put(caller.volume, caller.directory);
}

static void paths_of_directories_and_files(void)
{
	struct vol_inode *directory, *file;
	char path[64];

	begin();
	IS(call_mkdir(&caller, "one", 0777), 0);
	IS(call_mkdir(&caller, "one/two", 0777), 0);
	IS(call_mknod(&caller, "one/two/f", REG), 0);
	directory = inode_of("one/two");
	file = inode_of("one/two/f");
	IS(names_path(caller.volume, directory, path, sizeof path), 8);
	IS(strcmp(path, "/one/two"), 0);
	IS(names_path(caller.volume, directory, path, 9), 8);
	IS(names_path(caller.volume, directory, path, 8), -ERANGE);
	IS(names_path_in(caller.volume, directory, file, path, sizeof path), 10);
	IS(strcmp(path, "/one/two/f"), 0);
	IS(names_path_in(caller.volume, directory, directory, path, sizeof path), 8);
	IS(names_path(caller.volume, caller.directory, path, sizeof path), 1);
	IS(call_rename(&caller, "one", "a", 0), 0);
	IS(names_path_in(caller.volume, directory, file, path, sizeof path), 8);
	IS(strcmp(path, "/a/two/f"), 0);
	IS(call_unlink(&caller, "a/two/f"), 0);
	IS(names_path_in(caller.volume, directory, file, path, sizeof path), -ENOENT);
	inode_put(caller.volume, directory);
	inode_put(caller.volume, file);
}

/* Names are listed a few at a time while others come and go: those that stay are there once, in any order of things. */
static void a_listing_gives_what_stays_once(void)
{
	static uint8_t seen[MANY];
	uint8_t bytes[700] __attribute__((aligned(8)));
	uint64_t position = 0, seed = 7;
	long size;
	char name[64];

	begin();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "%d-%.*s", i, i % 40, "........................................");
		IS(call_mknod(&caller, name, REG), 0);
	}
	memset(seen, 0, sizeof seen);
	while ((size = names_list(caller.volume, caller.directory, &position, bytes, sizeof bytes)) > 0) {
		for (long at = 0; at < size; at += *(uint16_t *)(bytes + at + 16))
			seen[atoi((char *)bytes + at + 19) % MANY] += bytes[at + 19] >= '0';
		for (int k = 0; k < 20; k++) {		/* odd ones go, new ones come */
			int i = (int)((seed = seed * 6364136223846793005 + 1442695040888963407) >> 33) % MANY | 1;

			snprintf(name, sizeof name, "%d-%.*s", i, i % 40, "........................................");
			if (call_unlink(&caller, name))
				IS(call_mknod(&caller, name, REG), 0);
			if (k)
				continue;
			snprintf(name, sizeof name, "new-%lu", seed);
			IS(call_mknod(&caller, name, REG), 0);
		}
	}
	IS(size, 0);
	for (int i = 0; i < MANY; i += 2)
		IS(seen[i], i ? 1 : seen[0]);
}

static void many_names_come_and_go(void)
{
	struct facts facts;
	char name[64];
	uint64_t size;

	begin();
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < MANY * 5; i++) {
			snprintf(name, sizeof name, "file-%d", i);
			IS(call_mknod(&caller, name, REG), 0);
		}
		size = caller.directory->record.size;
		for (int i = 0; i < MANY * 6; i++) {
			snprintf(name, sizeof name, "file-%d", i);
			IS(call_stat(&caller, name, false, &facts), i < MANY * 5 ? 0 : -ENOENT);
		}
		for (int i = 0; i < MANY * 5; i++) {
			snprintf(name, sizeof name, "file-%d", (i * 7919) % (MANY * 5));
			IS(call_unlink(&caller, name), 0);
			IS(call_stat(&caller, name, false, &facts), -ENOENT);
		}
	}
	/* Room is used again. */
	IS(caller.directory->record.size <= size + size / 8, true);
	IS(directory_is_empty(caller.volume, caller.directory), 1);
}

/* More than the index takes: it is searched. */
static void a_directory_of_very_many_chunks(void)
{
	struct facts facts;

	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	caller.directory = inode_of("d");
	IS(inode_write(caller.volume, caller.directory, "", 1, (uint64_t)INDEXED_CHUNKS_MAX * VOLUME_BLOCK + 100, NULL), 1);
	IS(directory_chunks(caller.directory) > INDEXED_CHUNKS_MAX, true);
	IS(call_mknod(&caller, "a", REG), 0);
	IS(call_rename(&caller, "a", "b", 0), 0);
	IS(call_stat(&caller, "a", false, &facts), -ENOENT);
	IS(call_mknod(&caller, "b", REG), -EEXIST);
	IS(call_unlink(&caller, "b"), 0);
	IS(call_stat(&caller, "b", false, &facts), -ENOENT);
	IS(call_rmdir(&caller, "/d"), 0);
	inode_put(caller.volume, caller.directory);
}

/* Whatever a directory's bytes are, calls end, with an error or without. */
static void bytes_of_a_directory_that_make_no_sense(void)
{
	uint8_t bytes[4096] __attribute__((aligned(8))), listed[4096] __attribute__((aligned(8)));
	uint64_t seed = 11;
	struct facts facts;
	char name[64];

	for (int round = 0; round < 60; round++) {
		struct vol_inode *directory;
		uint64_t position = 0;

		begin();
		IS(call_mkdir(&caller, "d", 0777), 0);
		for (int i = 0; i < 30; i++) {
			snprintf(name, sizeof name, "d/%d", i);
			IS(call_mknod(&caller, name, REG), 0);
		}
		directory = inode_of("d");
		IS(inode_read(caller.volume, directory, bytes, sizeof bytes, 0), 4096);
		for (int k = 0; k < 1 + round % 4; k++) {
			seed = seed * 6364136223846793005 + 1442695040888963407;
			bytes[(seed >> 33) % 700] = (uint8_t)(seed >> 20);
		}
		IS(inode_write(caller.volume, directory, bytes, sizeof bytes, 0, NULL), 4096);
		if (round % 2) {	/* nothing is known of it, as after a mount */
			IS(names_lock(caller.volume), 0);
			index_forget(tree_of(caller.volume), directory->ino);
			names_unlock(caller.volume);
		}
		while (names_list(caller.volume, directory, &position, listed, sizeof listed) > 0)
			;
		for (int i = 0; i < 30; i++) {
			long result;

			snprintf(name, sizeof name, "d/%d", i);
			result = call_stat(&caller, name, false, &facts);
			IS(result == 0 || result == -ENOENT || result == -EIO, true);
			result = call_rename(&caller, name, "d/new", 0);
			result = call_link(&caller, name, "d/link", false);
			result = call_mkdir(&caller, "d/inner", 0777);
			(void)result;
		}
		inode_put(caller.volume, directory);
	}
	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	caller.directory = inode_of("d");
	memset(bytes, 0, sizeof bytes);
	((struct volume_name *)bytes)->size = 12;
	IS(inode_write(caller.volume, caller.directory, bytes, sizeof bytes, 0, NULL), 4096);
	IS(call_mknod(&caller, "a", REG), -EIO);
	memset(bytes, 0, sizeof bytes);	/* a hole is an empty chunk */
	IS(inode_write(caller.volume, caller.directory, bytes, sizeof bytes, 0, NULL), 4096);
	IS(call_mknod(&caller, "a", REG), 0);
	IS(facts_of("a").nlink, 1);
}

/* While one renames onto a name again and again, that name is always there for others. */
static void a_name_that_is_replaced_is_never_missing(void)
{
	pid_t writer;
	uint64_t ino;
	int found = 0;

	begin();
	IS(call_mknod(&caller, "name", REG), 0);
	writer = fork();
	if (!writer) {
		for (int i = 0; i < 1000000; i++) {
			IS(call_mknod(&caller, "fresh", REG), 0);
			IS(call_rename(&caller, "fresh", "name", 0), 0);
		}
		_exit(0);
	}
	for (; found < 100000; found++)
		IS(names_find(caller.volume, caller.directory, "name", 4, &ino), 0);
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	IS(names_find(caller.volume, caller.directory, "name", 4, &ino), 0);
}

/* The index starts anew, grows and changes under the eyes of those who look names up without a lock. */
static void names_that_stay_are_found_while_others_come_and_go(void)
{
	pid_t writers[2];
	uint64_t ino;
	char name[64];

	begin();
	IS(call_mkdir(&caller, "d", 0777), 0);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "stays-%d", i);
		IS(call_mknod(&caller, name, REG), 0);
	}
	for (int w = 0; w < 2; w++) {
		writers[w] = fork();
		for (int i = 0; !writers[w]; i = (i + 1) % 6000) {
			snprintf(name, sizeof name, "%s%d-%d", w ? "d/" : "", w, i % 3000);
			IS(i < 3000 ? call_mknod(&caller, name, REG) : call_unlink(&caller, name), 0);
		}
	}
	for (int i = 0; i < 300000; i++) {
		snprintf(name, sizeof name, "stays-%d", i % 60);
		IS(names_find(caller.volume, caller.directory, name, (uint32_t)strlen(name), &ino), i % 60 < 50 ? 0 : -ENOENT);
	}
	for (int w = 0; w < 2; w++) {
		kill(writers[w], SIGKILL);
		waitpid(writers[w], NULL, 0);
	}
}

static void worker(uint64_t seed)
{
	/* Nothing is moved below what can move itself: the tree would grow deeper and deeper. */
	static const char *const names[] = { "a", "b", "c", "d", "e", "d1/a", "d2/a", "d1/d", "d2/d", "d1/e" };

	for (;;) {
		const char *one = names[(seed >> 33) % 10], *other = names[(seed >> 40) % 10];
		long result;

		switch (seed >> 50 & 7) {
		case 0:
			result = call_mknod(&caller, one, REG);
			break;
		case 1:
			result = call_mkdir(&caller, one, 0777);
			break;
		case 2:
			result = call_unlink(&caller, one);
			break;
		case 3:
			result = call_rmdir(&caller, one);
			break;
		case 4:
			result = call_link(&caller, one, other, false);
			break;
		default:
			result = call_rename(&caller, one, other, seed >> 60 & 2);
		}
		if (result == -EIO)
			abort();
		seed = seed * 6364136223846793005 + 1442695040888963407;
	}
}

/* Links found by names, and those that inodes tell. */
static void check(struct vol_inode *directory, uint32_t *links)
{
	uint8_t bytes[8192] __attribute__((aligned(8)));
	uint64_t position = 0;
	long size = names_list(caller.volume, directory, &position, bytes, sizeof bytes);
	uint32_t subdirectories = 0;

	IS(size > 0, true);
	for (long at = 0; at < size; at += *(uint16_t *)(bytes + at + 16)) {
		const char *name = (char *)bytes + at + 19;
		struct vol_inode *inode;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		IS(inode_get(caller.volume, *(uint64_t *)(bytes + at), &inode), 0);
		links[inode->ino & 0xffff]++;
		if (S_ISDIR(inode->record.mode)) {
			subdirectories++;
			IS(inode->record.parent, directory->ino);
			check(inode, links);
		}
		inode_put(caller.volume, inode);
	}
	IS(directory->record.nlink, subdirectories + 2);
}

static void check_links(struct vol_inode *directory, const uint32_t *links)
{
	uint8_t bytes[8192] __attribute__((aligned(8)));
	uint64_t position = 0;
	long size = names_list(caller.volume, directory, &position, bytes, sizeof bytes);

	for (long at = 0; at < size; at += *(uint16_t *)(bytes + at + 16)) {
		const char *name = (char *)bytes + at + 19;
		struct vol_inode *inode;

		if (!strcmp(name, ".") || !strcmp(name, ".."))
			continue;
		IS(inode_get(caller.volume, *(uint64_t *)(bytes + at), &inode), 0);
		if (S_ISDIR(inode->record.mode))
			check_links(inode, links);
		else
			IS(inode->record.nlink, links[inode->ino & 0xffff]);
		inode_put(caller.volume, inode);
	}
}

static void check_tree(void)
{
	static uint32_t links[1 << 16];
	struct vol_inode *root;

	IS(names_lock(caller.volume), 0);	/* takes back what a killed one left */
	names_unlock(caller.volume);
	IS(inode_get(caller.volume, VOLUME_ROOT_INO, &root), 0);
	memset(links, 0, sizeof links);
	check(root, links);
	check_links(root, links);
	inode_put(caller.volume, root);
}

/* What a crash of the machine would leave: some commit, which was made while names were changed. */
static void check_crashed(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		if (standin_remount())
			check_tree();
		_exit(0);
	}
	waitpid(child, &status, 0);
	IS(status, 0);
}

static void processes_are_killed_while_they_change_names(void)
{
	pid_t workers[4] = { 0 };
	uint64_t seed = 5;

	begin();
	IS(call_mkdir(&caller, "d1", 0777), 0);
	IS(call_mkdir(&caller, "d2", 0777), 0);
	for (int round = 0; round < 200; round++) {
		bool is_last = round % 10 == 9;

		for (int i = 0; i < 4; i++) {
			if (!workers[i])
				workers[i] = fork();
			if (!workers[i])
				worker(seed + (uint64_t)i * 77777777777 + (uint64_t)round);
		}
		seed = seed * 6364136223846793005 + 1442695040888963407;
		nanosleep(&(struct timespec){ .tv_nsec = 1000 * (long)(seed >> 33 & 1023) }, NULL);
		IS(volume_commit(caller.volume), 0);
		for (int i = 0; i < 4; i++) {
			if (!is_last && !(seed >> (40 + i) & 1))
				continue;
			kill(workers[i], SIGKILL);
			waitpid(workers[i], NULL, 0);
			workers[i] = 0;
		}
		if (is_last) {
			check_crashed();
			check_tree();
		}
	}
}

static const struct named_case cases[] = {
	CASE(a_link_leads_out_or_in_as_its_target_says),
	CASE(with_the_volume_at_the_root_nothing_leads_out),
	CASE(sticky_and_setgid),
	CASE(a_file_without_a_name_gets_one_only_if_it_never_had_one),
	CASE(links_end_at_65000),
	CASE(times_move_as_natively),
	CASE(in_a_removed_directory_there_is_nothing),
	CASE(paths_of_directories_and_files),
	CASE(a_listing_gives_what_stays_once),
	CASE(many_names_come_and_go),
	CASE(a_directory_of_very_many_chunks),
	CASE(bytes_of_a_directory_that_make_no_sense),
	CASE(a_name_that_is_replaced_is_never_missing),
	CASE(names_that_stay_are_found_while_others_come_and_go),
	CASE(processes_are_killed_while_they_change_names),
};

int main(int count, char **argument)
{
	(void)count;
	return cases_run(cases, sizeof cases / sizeof *cases, argument);
}
