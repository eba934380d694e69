/*
 * micro.c - what one call costs: a loop over one kind of call, timed in batches.
 *
 * Owns: nothing. Must never: make another call inside a batch. The time comes from the vDSO.
 * Called by: scone_preload/bench/micro.py. Usage: micro KIND COUNT FILE; prints the median batch's nanoseconds a call.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 100, BATCHES_MAX = 100000 };	/* short: what else wants the core spoils few batches, not the median */

static char buffer[4096];
static int zero, file;
static long (*generated)(void);

static void by_site(void)      { getppid(); }
static void by_symbol(void)    { (void)!read(zero, buffer, 1); }
static void by_trap(void)      { generated(); }
static void by_pread(void)     { (void)!pread(file, buffer, sizeof(buffer), 0); }
static void by_lseek(void)     { lseek(file, 0, SEEK_SET); }
static void by_fstat(void)
{
	struct stat state;

	fstat(file, &state);
}

static void by_inline(void)
{
	long result = SYS_getppid;

	__asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}

static const struct kind {
	const char *name;
	void (*call)(void);
} kinds[] = {
	{ "site",   by_site },		/* getppid: libc's own syscall instruction */
	{ "inline", by_inline },	/* getppid: this program's syscall instruction */
	{ "symbol", by_symbol },	/* read of 1 byte of /dev/zero, by the libc wrapper */
	{ "trap",   by_trap },		/* getppid: generated code */
	{ "pread",  by_pread },		/* 4 KiB of a hot file */
	{ "lseek",  by_lseek },
	{ "fstat",  by_fstat },
};

/* mov $SYS_getppid,%eax; syscall; ret: where no analysis can see it. */
static int generate(void)
{
	static const unsigned char code[] = { 0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -1;
	memcpy(page, code, sizeof(code));
	generated = (long (*)(void))page;
	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static double now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(void (*call)(void), size_t batches)
{
	static double batch[BATCHES_MAX];

	for (size_t i = 0; i < batches; i++) {
		double start = now_ns();

		for (int j = 0; j < BATCH; j++)
			call();
		batch[i] = (now_ns() - start) / BATCH;
	}
	qsort(batch, batches, sizeof(batch[0]), compare);
	return batch[batches / 2];
}

int main(int argc, char **argv)
{
	int batches = argc == 4 ? atoi(argv[2]) / BATCH : 0;

	if (batches < 1 || batches > BATCHES_MAX)
		return 2;
	zero = open("/dev/zero", O_RDONLY);
	file = open(argv[3], O_RDWR | O_CREAT, 0600);
	if (zero < 0 || file < 0 || write(file, buffer, sizeof(buffer)) != sizeof(buffer) || generate() != 0) {
		perror("micro");
		return 1;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].name, argv[1]) != 0)
			continue;
		for (int j = 0; j < BATCH; j++)
			kinds[i].call();
		printf("%.1f\n", measure(kinds[i].call, (size_t)batches));
		return 0;
	}
	return 2;
}
