/*
 * window.h - windows that programs map: their chunks change without a call.
 *
 * Owns: the hashes of mapped chunks as they were last written. Must never: take a changed chunk for an unchanged one (but for
 * one in 2^64). Called by: cache.c, node_pool.c, commit.c, inode_window and inode_scan.
 */
#ifndef SCONE_VOLUME_WINDOW_H
#define SCONE_VOLUME_WINDOW_H

#include "nodes.h"

/* This is what the chunk of a locked node holds on the disk. */
void window_note(struct volume *volume, struct vol_node *node, uint32_t at, const void *bytes);

/* Chunks of a locked, mapped node that are no longer what was noted are dirty. */
void window_scan(struct volume *volume, struct vol_node *node);

/* The same for all nodes of files with writable mappings. */
void window_scan_all(struct volume *volume);

#endif
