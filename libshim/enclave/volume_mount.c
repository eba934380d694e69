/*
 * volume_mount.c - the volumes of a process, and who it is.
 *
 * Owns: mounts[], made from what the answer to HELLO brings; the process's number, mask and identity as volumes see them. Must
 * never: leave the arena's descriptor open, or let the program reach the container's. Called by: control.c, volume_*.c.
 */
#include <linux/mman.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <asm/stat.h>
#include "volume_inner.h"

enum { SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1, MSG_CMSG_CLOEXEC_ = 0x40000000, MSG_CTRUNC_ = 8, GROUPS_MAX = 64, NUMBERS_MAX = 1 << 20,
       NAME_AT = 19, BLIND_MAX = 256 };

_Static_assert(sizeof(((struct thread *)0)->who) >= sizeof(struct vol_who), "a vfork child's");

struct mount mounts[CTL_VOLUMES_MAX];
uint32_t mount_count;
uint32_t file_mask;
uint64_t file_limit = ~0ULL;

static struct vol_who who;
static bool who_is_known;
static struct mutex who_lock;
static uint32_t number;

/* ---- taking over ---- */

struct packet { struct ctl_volume head; char paths[2 * CTL_PATH_MAX]; };

struct message {
	void *name; uint32_t name_size, padding_1;
	struct io_part *vectors; uint64_t vector_count;
	void *control; uint64_t control_size;
	int32_t flags, padding_2;
};

struct rights { uint64_t size; int32_t level, type, fd[2]; };

static void packet_take(int from, struct packet *packet, struct rights *rights)
{
	struct io_part vector = { (uint64_t)packet, sizeof *packet };
	struct message message = { .vectors = &vector, .vector_count = 1, .control = rights, .control_size = sizeof *rights };
	const char *second;
	long size;

	do
		size = gate3(__NR_recvmsg, from, &message, MSG_CMSG_CLOEXEC_);
	while (size == -EINTR);
	if (size <= (long)sizeof packet->head || size >= (long)sizeof *packet || message.flags & MSG_CTRUNC_ ||
	    message.control_size != sizeof *rights || rights->size != sizeof *rights || rights->level != SOL_SOCKET_ ||
	    rights->type != SCM_RIGHTS_)
		die("the runtime's volume can't be read");
	packet->paths[(size_t)size - sizeof packet->head] = 0;
	second = packet->paths + string_size(packet->paths) + 1;
	if (second + string_size(second) + 1 != (char *)packet + size || packet->paths[0] != '/' || second[0] != '/')
		die("the runtime's volume can't be read");
}

static void mount_make(struct mount *mount, const struct packet *packet, const struct rights *rights)
{
	const char *directory = packet->paths + string_size(packet->paths) + 1;
	long arena = gate6(__NR_mmap, 0, (long)packet->head.arena_size, PROT_READ | PROT_WRITE, MAP_SHARED, rights->fd[0], 0);

	if (arena < 0 || packet->head.arena_size < volume_arena_size())
		die("a volume's arena can't be mapped");
	gate1(__NR_close, rights->fd[0]);
	gate3(__NR_madvise, arena, packet->head.arena_size, MADV_DONTDUMP);
	mount->volume = (struct volume){ .arena = (struct volume_arena *)arena, .host = &volume_host, .context = mount };
	mount->arena_size = packet->head.arena_size;
	mount->index = mount_count;
	mount->is_readonly = packet->head.flags & CTL_VOLUME_READONLY;
	if (copy_string(mount->place, packet->paths, sizeof mount->place) <= 0 ||
	    copy_string(mount->directory, directory, sizeof mount->directory) <= 0)
		die("the runtime's volume can't be read");
	mount->place_size = (uint32_t)string_size(mount->place);
	mount->directory_size = (uint32_t)string_size(mount->directory);
	mount->container = &enclave.own_fd[OWN_CONTAINERS + mount_count];
	*mount->container = rights->fd[1];
	if (inode_get(&mount->volume, VOLUME_ROOT_INO, &mount->root) < 0)
		die("a volume has no root directory");
}

void volumes_take(int from, uint32_t count)
{
	struct packet *packet = pages_map(sizeof *packet);
	struct rights rights;

	if (!packet)
		die("no memory for the shim");
	if (count > CTL_VOLUMES_MAX)
		die("the runtime host's answer to HELLO can't be read");
	for (; mount_count < count; mount_count++) {
		packet_take(from, packet, &rights);
		mount_make(&mounts[mount_count], packet, &rights);
	}
	gate2(__NR_munmap, packet, sizeof *packet);
	if (!count)
		return;
	file_mask = (uint32_t)gate1(__NR_umask, 022);
	gate1(__NR_umask, file_mask);
	limit_changed();
	open_files_prepare();
	control_own_move(OWN_CONTAINERS, count);
	enclave.has_volumes = enclave.has_shields = enclave.is_watched = true;
}

/* ---- what the image before left ---- */

static long number_at(const char *name)
{
	long value = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9' && value < NUMBERS_MAX; name++)
		value = value * 10 + (*name - '0');
	return value;
}

static void listing_adopt(long directory)
{
	uint8_t entries[2048];
	long size;

	while ((size = gate3(__NR_getdents64, directory, entries, sizeof entries)) > 0 && size <= (long)sizeof entries)
		for (long at = 0; at + NAME_AT < size;) {
			uint16_t entry_size;
			long fd = number_at((const char *)entries + at + NAME_AT);

			memcpy(&entry_size, entries + at + NAME_AT - 3, sizeof entry_size);
			if (fd >= 0)
				open_file_adopt((int)fd);
			if (entry_size <= NAME_AT)
				break;
			at += entry_size;
		}
}

void volumes_adopt(bool is_executed)
{
	long directory;

	for (uint32_t i = 0; i < mount_count && !is_executed; i++)	/* of a dead process with this number */
		holds_drop_all(&mounts[i]);
	directory = gate4(__NR_openat, AT_FDCWD, "/proc/thread-self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (directory >= 0) {
		listing_adopt(directory);
		gate1(__NR_close, directory);
	} else {
		for (int fd = 0; fd < BLIND_MAX; fd++)
			open_file_adopt(fd);
	}
	open_files_drop_unknown();
	current_adopt();
	for (uint32_t i = 0; i < mount_count; i++) {
		holds_drop_own(&mounts[i], HOLD_MAP);
		holds_drop_own(&mounts[i], HOLD_MAP_WRITING);
		holds_reap(&mounts[i], false);
	}
}

/* ---- where they are ---- */

static bool is_at_or_below(const char *path, const char *place, size_t size, const char **rest)
{
	if (size == 1) {
		*rest = path;
		return true;
	}
	for (size_t i = 0; i < size; i++)
		if (path[i] != place[i])
			return false;
	*rest = path + size;
	return !**rest || **rest == '/';
}

struct mount *mount_of(const char *path, const char **rest)
{
	struct mount *found = NULL;
	const char *behind;

	for (uint32_t i = 0; i < mount_count; i++)
		if ((!found || found->place_size < mounts[i].place_size) &&
		    is_at_or_below(path, mounts[i].place, mounts[i].place_size, &behind)) {
			found = &mounts[i];
			*rest = behind;
		}
	return found;
}

bool mount_is_behind(const char *path)
{
	const char *rest;

	for (uint32_t i = 0; i < mount_count; i++)
		if (is_at_or_below(path, mounts[i].directory, mounts[i].directory_size, &rest))
			return true;
	return false;
}

long volumes_namespace_check(uint32_t nr, uint64_t flags)
{
	if (!(flags & CLONE_NEWPID))
		return 0;
	return volume_refuse(&mounts[0], nr, "with a volume there is one pid namespace", -EPERM);
}

/* ---- who asks ---- */

void limit_changed(void)
{
	uint64_t limit[2];

	if (gate2(__NR_getrlimit, RLIMIT_FSIZE, limit) == 0)
		file_limit = limit[0];
}

void who_changed(void)
{
	__atomic_store_n(&who_is_known, false, __ATOMIC_RELEASE);
}

static void who_find(struct vol_who *found)
{
	uint32_t groups[GROUPS_MAX * 16];
	long count = gate2(__NR_getgroups, sizeof groups / sizeof *groups, groups);

	found->uid = (uint32_t)gate1(__NR_setfsuid, -1);
	found->gid = (uint32_t)gate1(__NR_setfsgid, -1);
	found->group_count = count < 0 ? 0 : count > GROUPS_MAX ? GROUPS_MAX : (uint32_t)count;
	memcpy(found->groups, groups, found->group_count * sizeof *groups);
}

const struct vol_who *who_asks(void)
{
	if (unlikely(thread_self()->is_guest)) {
		who_find((struct vol_who *)thread_self()->who);
		return (struct vol_who *)thread_self()->who;
	}
	if (likely(__atomic_load_n(&who_is_known, __ATOMIC_ACQUIRE)))
		return &who;
	mutex_lock(&who_lock);
	who_find(&who);
	__atomic_store_n(&who_is_known, true, __ATOMIC_RELEASE);
	mutex_unlock(&who_lock);
	return &who;
}

uint32_t process_number(void)
{
	if (thread_self()->is_guest && thread_self()->gate_only)	/* else its descriptors are the process's */
		return (uint32_t)gate0(__NR_getpid);
	if (unlikely(!number))
		number = (uint32_t)gate0(__NR_getpid);
	return number;
}

void process_changed(void)
{
	number = 0;
	who_lock = (struct mutex){ 0 };
	who_changed();
}

long volume_refuse(struct mount *mount, uint32_t nr, const char *why, long error)
{
	char bytes[512];
	struct text text = { bytes, 0, sizeof bytes };

	if (__atomic_exchange_n(&mount->is_told[nr % CALL_COUNT], true, __ATOMIC_RELAXED))
		return error;
	text_add(&text, "volume ");
	text_add(&text, mount->place);
	text_add(&text, ": ");
	text_add(&text, call_shapes[nr % CALL_COUNT].name ? : "?");
	text_add(&text, ": ");
	text_add(&text, why);
	control_event(CTL_EVENT_NOTICE, nr, bytes);
	return error;
}
