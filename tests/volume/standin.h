/*
 * standin.h - a volume for tests of names, files and locks.
 *
 * Owns: what a test program needs of it. Must never: be included by the product. Two files implement it: standin.c keeps
 * inodes in shared memory and is as simple as can be; real.c mounts a container. Used by: the C programs here.
 */
#ifndef TESTS_VOLUME_STANDIN_H
#define TESTS_VOLUME_STANDIN_H

#include "../../libshim/volume/file.h"

/* A new, empty volume in memory that forked children share. */
struct volume *standin_volume(void);

/* What this process changes from now on is its own: the others' memory stays as it is; what they change can't be told. */
void standin_fork(void);

/* As after a crash of the machine: the volume as its container has it, in an arena of this process's own. false: there is none. */
bool standin_remount(void);

/* A thread that is taken for dead. */
extern uint32_t standin_dead;

/* From now on the nth write to inodes fails with -ENOSPC (1: the next), `count` times; 0: none. */
void standin_fail(uint32_t nth, uint32_t count);

/* Inodes that are in use: those with names, and those that users have. */
uint32_t standin_inodes(void);

/* The host functions, by libc. */
extern const struct volume_host standin_host;

#endif
