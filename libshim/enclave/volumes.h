/*
 * volumes.h - encrypted volumes in a wrapped program: where its calls meet one.
 *
 * Owns: what the rest of the enclave must know of volumes. Must never: cost a program without one anything. Used by:
 * dispatch.c, control.c, clone.c, fd.c, shield.c, about.c.
 *
 *   call ─► volumes_serve ─┬─ its path leads into a volume: volume_names.c, volume_open.c, volume_status.c
 *                          └─ it does not: policy ─► shield (volume_file.c: its descriptor is a volume's) ─► exit
 */
#ifndef SCONE_VOLUMES_H
#define SCONE_VOLUMES_H

#include "enclave.h"
#include "shape.h"

struct descriptor;

/* Takes `count` volumes over, as packets on `from` bring them, or dies. Called once an image, before its program runs. */
void volumes_take(int from, uint32_t count);

/* After all came: recognises open files, and the current directory, that the image before left, if one executed this. */
void volumes_adopt(bool is_executed);

/* Does a volume have a say in calls of this number? Only asked once enclave.has_volumes. */
bool volumes_meet(uint32_t nr);

/* Serves such a call from a volume, or hands it on to dispatch_on(). */
long volumes_serve(struct frame *frame, const struct call_shape *shape);

/* The same for calls on the descriptors of a thread with a table of its own, of which nothing is known. -SHIELD_PLAIN: none
 * of them is a volume's. */
long volumes_serve_guest(struct frame *frame, const struct call_shape *shape);

/* Would it put processes into another pid namespace? Locks and holds know each other by number: 0, or -EPERM, told. */
NODISCARD long volumes_namespace_check(uint32_t nr, uint64_t flags);

/* Around a clone that makes a process: what is open counts for the child before it runs. `child` is the number of the child,
 * or an error; `serial` is what begin gave. */
uint64_t volumes_clone_begin(bool has_own_memory);
void volumes_clone_end(uint64_t serial, long child, bool has_own_memory);

/* In the child, before its program runs. `parent` is the number of the thread that cloned. */
void volumes_child_begin(uint32_t parent, uint64_t serial, bool has_own_memory);

/* A fault of the program: true when a volume's file has grown up to there, and the program can go on. */
bool volumes_fault(int signal, const uint8_t *info);

/* The path of a directory, AT_FDCWD or a descriptor, when that is in a volume: its size; 0: it is in none; or -errno. */
NODISCARD long volumes_directory(int directory, char *path, uint64_t size);

/* The calling thread's number. */
uint32_t thread_number(void);
#endif
