/*
 * control.h - the shim's side of the control socket (docs/internals.md, section 2).
 *
 * Owns: the messages to the runtime host. Must never: take an answer on the shared socket; each question brings its
 * own socket. Used by: start.c, exec.c, patch.c, stats.c, die.c.
 */
#ifndef SCONE_ENCLAVE_CONTROL_H
#define SCONE_ENCLAVE_CONTROL_H

#include "enclave.h"
#include "shim_abi.h"
#include "../wire/control.h"

/*
 * Tells the runtime that this program image is under the shim, and what is mapped; `nonce` was given for it. Where a
 * policy is to come (FLAG_POLICY), waits for it and installs it, or dies with the runtime's reason.
 */
void control_hello(bool after_exec, uint64_t nonce);

/* One line for the runtime's log; nr is a call number or ~0. False without a runtime: then it does nothing. */
bool control_event(uint32_t kind, uint32_t nr, const char *text);

/* May the program exec `path`? 0, the shim to preload in `shim` (capacity CTL_PATH_MAX), what its file was recognised by in
 * `pin` ("dev,ino,size,mtime,ctime" in nanoseconds; capacity CTL_PIN_MAX, empty: not told) and the answer's head in *given;
 * or -errno; says why. */
NODISCARD long control_exec(int dirfd, uint32_t at_flags, const char *path, char *shim, char *pin,
			    struct ctl_exec_answer *given);
enum { CTL_PIN_MAX = 128 };

/* Site table of a library mapped at run time: the number of sites copied to `sites` (at most `capacity`), or 0. */
NODISCARD long control_sites(const char *path, uint64_t offset, uint64_t length, struct site *sites, size_t capacity);

/*
 * Asks about a call: `size` bytes from `call` on, the header not filled in. The bytes of the answer's first packet, and in
 * *from the socket on which more may come (the caller closes it); or -errno.
 */
NODISCARD long control_call(struct ctl_call *call, size_t size, void *answer, size_t capacity, int *from);

/* The next packet of an answer: its bytes, 0 when there is none, or -errno. */
NODISCARD long control_more(int from, void *bytes, size_t capacity);

/* The counts of this process; when it is the first one and ends, prints what the runtime answers. */
void control_stats(const struct wire_stats *stats, bool is_end);

/* This process has the helper `pid` from now on; 0: it is about to end the one it has. The runtime watches it. */
void control_helper(int32_t pid);

/* Hands over the memory file that this process counts in (wire/live.h). The descriptor stays the caller's. */
void control_live(int fd);
/* The memory files that stay open over the exec that was allowed last: `size` bytes, the header not filled in. */
void control_keep(struct ctl_keep *message, size_t size);

/* One trace record with its strings, a packet built by trace.c. */
void control_trace(struct ctl_trace *packet, size_t size);

/* Moves the shim's own descriptors out of the program's way. Called once, from start.c. */
void control_start(void);

/* The same for `count` that came later: enclave.own_fd[] from `first` on. */
void control_own_move(uint32_t first, uint32_t count);

/* Whether a program that is executed gets them: one that runs unwrapped must not. */
void control_inherit(bool is_inherited);
#endif
