/*
 * memory.c - mappings: private, shared, moved, protected, exhausted.
 *
 * Owns: the cases for calls that only change the address space. Must never: need more than 200 MB.
 * Run by: test_programs.py, native and wrapped, with the same assertions.
 */
#include "guard.h"

#include <sys/resource.h>
#include <sys/shm.h>

static char *map(size_t size, int protection, int flags, int fd)
{
	char *at = mmap(NULL, size, protection, flags, fd, 0);

	CHECK(at != MAP_FAILED);
	return at;
}

CASE(private_file_mappings_do_not_change_the_file)
{
	int fd = file_of("a", "abcdefgh", 8);
	char *at = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	char back[8];

	CHECK(memcmp(at, "abcdefgh", 8) == 0 && at[8] == 0);
	at[0] = 'X';
	GIVES(8, pread(fd, back, 8, 0));
	CHECK(back[0] == 'a');
	GIVES(0, munmap(at, PAGE));
}

CASE(shared_file_mappings_and_the_file_are_one)
{
	int fd = file_of("a", "abcdefgh", 8);
	char *at = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	char back[8];
	pid_t child;

	at[0] = 'X';
	GIVES(8, pread(fd, back, 8, 0));
	CHECK(back[0] == 'X');
	GIVES(1, pwrite(fd, "Y", 1, 1));
	CHECK(at[1] == 'Y');
	GIVES(0, msync(at, PAGE, MS_SYNC));
	child = fork();
	if (child == 0) {
		at[2] = 'Z';
		_exit(0);
	}
	GIVES(0, exit_status(child));
	CHECK(at[2] == 'Z');
	GIVES(0, close(fd));
	CHECK(at[2] == 'Z');
}

CASE(reading_past_a_files_end_through_a_mapping_is_a_bus_error)
{
	int fd = file_of("a", "abc", 3);
	char *volatile at = map(2 * PAGE, PROT_READ, MAP_SHARED, fd);
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		_exit(at[PAGE] + 1);
	}
	GIVES(SIGBUS, death_signal(child));
}

CASE(anonymous_shared_memory_is_shared_with_children)
{
	volatile int *word = (int *)map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	pid_t child = fork();

	if (child == 0) {
		*word = 41;
		_exit(0);
	}
	GIVES(0, exit_status(child));
	CHECK(*word == 41);
}

CASE(a_memory_file_is_sealed_and_mapped)
{
	int fd = (int)SYS(memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	char *at;

	GIVES(0, ftruncate(fd, PAGE));
	at = map(PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	strcpy(at, "sealed");
	GIVES(0, munmap(at, PAGE));
	GIVES(0, fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE));
	FAILS(EPERM, ftruncate(fd, 0));
	FAILS(EPERM, write(fd, "x", 1));
	GIVES(F_SEAL_SHRINK | F_SEAL_WRITE, fcntl(fd, F_GET_SEALS));
}

CASE(system_v_shared_memory_works)
{
	int id = shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
	char *at;

	if (id < 0 && errno == ENOSYS)
		skip("this kernel has no System V shared memory");
	CHECK(id >= 0);
	at = shmat(id, NULL, 0);
	CHECK(at != (void *)-1);
	at[10] = 's';
	GIVES(0, shmctl(id, IPC_RMID, NULL));
	CHECK(at[10] == 's');
	GIVES(0, shmdt(at));
}

CASE(protection_changes_take_effect)
{
	char *at = map(3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	int fd = (int)SYS(open("/dev/zero", O_RDONLY));

	memset(at, 'p', 3 * PAGE);
	GIVES(0, mprotect(at + PAGE, PAGE, PROT_READ));
	CHECK(at[PAGE] == 'p');
	FAILS(EFAULT, read(fd, at + PAGE, 1));
	GIVES(0, mprotect(at + PAGE, PAGE, PROT_READ | PROT_WRITE));
	GIVES(1, read(fd, at + PAGE, 1));
	GIVES(0, munmap(at + PAGE, PAGE));
	FAILS(EFAULT, read(fd, at + PAGE, 1));
	FAILS(ENOMEM, mprotect(at, 3 * PAGE, PROT_READ));
	FAILS(EINVAL, mprotect(at + 1, PAGE, PROT_READ));
	FAILS(EINVAL, munmap(at + 1, PAGE));
}

CASE(mappings_move_and_grow)
{
	char *at = map(PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1), *moved;

	strcpy(at, "moving");
	moved = mremap(at, PAGE, 100 * PAGE, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED && strcmp(moved, "moving") == 0 && moved[99 * PAGE] == 0);
	moved = mremap(moved, 100 * PAGE, PAGE, 0);
	CHECK(moved != MAP_FAILED && strcmp(moved, "moving") == 0);
	CHECK(mmap(moved, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == moved && moved[0] == 0);
	CHECK(mmap(moved, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
	CHECK(errno == EEXIST);
}

CASE(the_heap_break_moves)
{
	char *start = sbrk(0);

	CHECK(sbrk(10 * PAGE) == start);
	memset(start, 'h', 10 * PAGE);
	CHECK(brk(start) == 0 && sbrk(0) == start);
}

CASE(advice_and_locking_are_accepted)
{
	unsigned char *resident = guarded(4);
	char *at = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	memset(at, 'a', 4 * PAGE);
	GIVES(0, mincore(at, 4 * PAGE, resident));
	CHECK(resident[0] & 1);
	GIVES(0, madvise(at, 4 * PAGE, MADV_DONTNEED));
	CHECK(at[0] == 0);
	GIVES(0, madvise(at, 4 * PAGE, MADV_WILLNEED));
	FAILS(EINVAL, madvise(at, PAGE, 9999));
	GIVES(0, mlock(at, PAGE));
	GIVES(0, munlock(at, PAGE));
}

CASE(allocations_beyond_the_limit_fail_with_enomem)
{
	struct rlimit limit = { 200 << 20, RLIM_INFINITY };
	void *blocks[64];
	int count = 0, pipe_fds[2];

	GIVES(0, setrlimit(RLIMIT_AS, &limit));
	while (count < 64 && (blocks[count] = malloc(8 << 20)) != NULL)
		count++;
	CHECK(count > 2 && count < 30 && errno == ENOMEM);
	CHECK(mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
	GIVES(0, pipe(pipe_fds));
	GIVES(3, write(pipe_fds[1], "abc", 3));
	GIVES(3, read(pipe_fds[0], guarded(3), 3));
	while (count > 0)
		free(blocks[--count]);
	CHECK((blocks[0] = malloc(8 << 20)) != NULL);
	GIVES(0, exit_status(fork() ?: (_exit(0), 0)));
}

CASE(system_calls_work_when_no_memory_is_left_at_all)
{
	struct rlimit limit = { 0, RLIM_INFINITY };
	int fds[2], fd;
	char byte;

	GIVES(0, pipe(fds));
	GIVES(0, setrlimit(RLIMIT_AS, &limit));
	for (int i = 0; i < 1000; i++) {
		GIVES(1, write(fds[1], "m", 1));
		GIVES(1, read(fds[0], &byte, 1));
	}
	fd = (int)SYS(open("made", O_CREAT | O_RDWR, 0600));
	GIVES(1, write(fd, "m", 1));
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
}

CASE(wrong_mappings_are_refused)
{
	int write_only = (int)SYS(open("w", O_WRONLY | O_CREAT, 0600));

	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, 999, 0) == MAP_FAILED && errno == EBADF);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, write_only, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, PAGE, PROT_READ, 0, write_only, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, write_only, 1) == MAP_FAILED && errno == EINVAL);
}

CASE(the_maps_file_can_be_read_and_names_the_program)
{
	static char text[1 << 18];
	FILE *file = fopen("/proc/self/maps", "r");
	size_t size;

	CHECK(file != NULL);
	size = fread(text, 1, sizeof(text) - 1, file);
	CHECK(size > 500 && strstr(text, "[stack]") != NULL && strstr(text, strrchr(case_argv[0], '/')) != NULL);
}
