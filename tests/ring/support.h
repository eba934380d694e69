/*
 * support.h - an ordinary process that plays the enclave around the ring.
 *
 * Owns: threads with a struct thread in GS, a signal handler that defers as signal.c does, CHECK. Must never: be linked
 * into the shim. Used by: the tests and the benchmark beside it.
 */
#ifndef RING_SUPPORT_H
#define RING_SUPPORT_H

#include "enclave.h"
#include "ring.h"

#define CHECK(condition) do { if (!(condition)) check_failed(__FILE__, __LINE__, #condition); } while (0)

_Noreturn void check_failed(const char *file, int line, const char *condition);

/* Makes the calling thread one of the enclave; its struct thread. */
struct thread *test_thread(void);

/* SIGUSR1 is the program's signal: deferred, the call under way is interrupted. */
void signals_open(void);

/* A pair of connected sockets that do not block. */
void pair(int fds[2], int type);

/* Reads until `size` bytes came or nothing came for two seconds: how many came. */
size_t read_all(int fd, char *bytes, size_t size);

/* What RING_URING says: io_uring "always" or "never"; else as the shim has it. Before the first ring_attach(). */
void choose_backend(void);

#endif
