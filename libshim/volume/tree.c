/*
 * tree.c - the tree's lock as long as names.c, whose it is, has none.
 *
 * Owns: names_lock. Must never: stay once names.c is there, which undoes what a dead holder left. Called by: commit.c.
 */
#include "arena.h"

void names_lock(struct volume *volume)
{
	vol_lock(volume, &volume->arena->tree);
}

void names_unlock(struct volume *volume)
{
	vol_unlock(volume, &volume->arena->tree);
}
