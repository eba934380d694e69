/*
 * canary.c - a program with a secret in every place where it can have one, that makes calls which don't pass it.
 *
 * Owns: the secret, made at run time from two halves that differ in the file. Must never: give it to a call.
 * Run by: test_canary.py, wrapped; waits for a byte on stdin while the helper's memory is read.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SECRET = 32, COPIES = 4096 };

static const unsigned char half[SECRET] = "what nobody else may ever see!!";
static unsigned char global[SECRET * COPIES];
static __thread unsigned char local[SECRET * 16];

/* The secret `count` times at `at`. */
static void *secrets(void *at, int count)
{
	for (int i = 0; i < SECRET * count; i++)
		((volatile unsigned char *)at)[i] = (unsigned char)(half[i % SECRET] ^ (0x5a + i % SECRET));
	return at;
}

static void call_without_it(void)
{
	struct stat status;
	char name[64], byte[16];
	int pair[2];

	for (int i = 0; i < 200; i++) {
		if (stat("/etc/passwd", &status) || !getcwd(name, sizeof(name)) || access("/etc", R_OK))
			abort();
		if (pipe(pair) || write(pair[1], "plain", 5) != 5 || read(pair[0], byte, sizeof(byte)) != 5)
			abort();
		close(pair[0]);
		close(pair[1]);
	}
}

static void *other_thread(void *nothing)
{
	unsigned char stack[SECRET * 64];

	secrets(local, 16);
	secrets(stack, 64);
	__asm__ volatile("movdqu (%0), %%xmm6\n movdqu 16(%0), %%xmm7" : : "r"(stack) : "xmm6", "xmm7");
	call_without_it();
	pause();
	return nothing;
}

int main(void)
{
	unsigned char stack[SECRET * 64], *heap = malloc(SECRET * COPIES);
	void *pages = mmap(NULL, SECRET * COPIES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;

	secrets(global, COPIES);
	secrets(heap, COPIES);
	secrets(pages, COPIES);
	secrets(local, 16);
	secrets(stack, 64);
	__asm__ volatile("movdqu (%0), %%xmm4\n movdqu 16(%0), %%xmm5" : : "r"(stack) : "xmm4", "xmm5");
	call_without_it();
	pthread_create(&thread, NULL, other_thread, NULL);
	call_without_it();
	if (fork() == 0) {	/* its helper begins as a copy of a process full of secrets, too */
		call_without_it();
		write(1, "c", 1);
		pause();
	}
	write(1, "p", 1);
	return getchar() == EOF;
}
