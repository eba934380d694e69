/*
 * node_pool.h - slots of nodes, and the list by which they are found.
 *
 * Owns: struct vol_node's place in the pool. Must never: read the container. Called by: nodes.c, mount.c.
 */
#ifndef SCONE_VOLUME_NODE_POOL_H
#define SCONE_VOLUME_NODE_POOL_H

#include "nodes.h"

static inline bool node_is(const struct vol_node *node, uint64_t ino, uint32_t level, uint64_t index)
{
	return __atomic_load_n(&node->is_used, __ATOMIC_ACQUIRE) && node->ino == ino && node->level == level &&
	       node->index == index;
}

/* A slot that nobody uses, locked; one that is clean is dropped for it. -ENOMEM: there is none. */
VOL_NODISCARD long node_take_slot(struct volume *volume, struct vol_node **node);

/* It becomes that node, without entries, LOADING. */
void node_shape(struct volume *volume, struct node_key key, struct vol_node *node);

/* Puts it into the list; false: there is one of that key already. */
VOL_NODISCARD bool node_list(struct volume *volume, struct vol_node *node);

/* The node above the present top, locked: without entries, changed. */
VOL_NODISCARD long node_new_top(struct volume *volume, struct node_key key, struct vol_node **node);

/* Whether its chunks stand in the clear. */
bool node_is_plain(const struct volume *volume, const struct vol_inode *inode);

#endif
