/*
 * epoll.h - what is registered with the program's epoll instances.
 *
 * Owns: the program's data of every registration; the kernel only gets the descriptor number and a generation, so the
 * host can't invent a pointer. Used by: descriptor.c, epoll.c.
 */
#ifndef SCONE_EPOLL_H
#define SCONE_EPOLL_H

#include "descriptor.h"

/* Another number for the same instance. */
void epoll_share(struct descriptor *from, struct descriptor *to);

/* One number of the instance is gone; the last one frees it. */
void epoll_release(struct descriptor *descriptor);

/* The number `fd` will be closed, and what it stands for stays open out of the program's sight: no loop watches it any more.
 * What the program has another number for is still watched, as natively. */
void epoll_leave(int fd);
#endif
