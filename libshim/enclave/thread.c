/*
 * thread.c - the shim's threads: one for each OS thread of the program.
 *
 * Owns: the list of all, the free list, and the way a new one comes under the doors. Must never: unmap the stack that
 * an ending thread still stands on (it is recycled instead). Called by: start.c, clone.c.
 */
#include <linux/mman.h>
#include <linux/prctl.h>
#include "signal.h"
#include "clone.h"
#include "live.h"

enum { ARCH_SET_GS_ = 0x1001 };

static struct thread *all, *free_list;
static struct mutex   lock;

void gs_set(uint64_t base);

static struct thread *thread_map(void)
{
	uint64_t body = (sizeof(struct thread) + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uint64_t size = PAGE_SIZE + SHIM_STACK_SIZE + PAGE_SIZE + SIGNAL_STACK_SIZE + body;
	uint8_t *map = pages_map(size);
	struct thread *thread;

	if (!map)
		return NULL;
	gate3(__NR_mprotect, map, PAGE_SIZE, PROT_NONE);
	gate3(__NR_mprotect, map + PAGE_SIZE + SHIM_STACK_SIZE, PAGE_SIZE, PROT_NONE);
	thread = (struct thread *)(map + size - body);
	thread->self = thread;
	thread->stack_top = (uint64_t)map + PAGE_SIZE + SHIM_STACK_SIZE;
	thread->map = (uint64_t)map;
	thread->map_size = size;
	return thread;
}

struct thread *thread_new(void)
{
	struct thread *thread;

	mutex_lock(&lock);
	thread = __atomic_load_n(&free_list, __ATOMIC_ACQUIRE);
	while (thread && !__atomic_compare_exchange_n(&free_list, &thread, thread->next_free, false, __ATOMIC_ACQ_REL,
						      __ATOMIC_ACQUIRE))
		;
	if (!thread) {
		thread = thread_map();
		if (thread) {
			live_attach(thread);
			thread->next_all = all;
			__atomic_store_n(&all, thread, __ATOMIC_RELEASE);
		}
	}
	mutex_unlock(&lock);
	if (!thread)
		return NULL;
	thread->signal_pending = 0;
	thread->has_call_mask = false;
	thread->gate_only = thread->is_guest = false;
	thread->altstack_size = thread->altstack_pointer = 0;
	thread->hidden_mask = 0;
	thread->tid = 0;
	thread->lane = NULL;
	thread->has_posted = false;
	thread->turns = (struct turns) { 0 };
	thread->posts = thread->posts_forced = thread->posts_paused = 0;
	thread->actions = NULL;
	thread->memory_files = NULL;
	return thread;
}

void thread_scratch_free(struct thread *thread)
{
	if (thread->scratch)
		gate2(__NR_munmap, thread->scratch, thread->scratch_size);
	thread->scratch = NULL;
}

void thread_release(struct thread *thread)
{
	struct thread *head = __atomic_load_n(&free_list, __ATOMIC_RELAXED);

	do
		thread->next_free = head;
	while (!__atomic_compare_exchange_n(&free_list, &head, thread, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

struct thread *thread_all(void)
{
	return __atomic_load_n(&all, __ATOMIC_ACQUIRE);
}

void thread_exit(struct thread *thread, long status)
{
	signal_mask_set(~0UL);
	gate_thread_exit(thread, &free_list, status, offsetof(struct thread, next_free));
}

static void signal_stack_set(const struct thread *thread)
{
	struct { uint64_t pointer; int32_t flags, padding; uint64_t size; } stack = {
		thread->stack_top + PAGE_SIZE, 0, 0, SIGNAL_STACK_SIZE };

	if (gate2(__NR_sigaltstack, &stack, 0) < 0)
		die("the host refuses a signal stack");
}

void thread_base_set(struct thread *thread)
{
	if (enclave.has_fsgsbase)
		gs_set((uint64_t)thread);
	else if (gate2(__NR_arch_prctl, ARCH_SET_GS_, thread) < 0)
		die("the host refuses a GS base");
}

void thread_enter(struct thread *thread)
{
	thread_base_set(thread);
	signal_stack_set(thread);
	if (gate5(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, gate_start, gate_end - gate_start, 0) < 0)
		die("the kernel has no Syscall User Dispatch: Linux 5.11 or newer is needed");
	thread->stats.threads++;
}

void thread_fork_lock(void)   { mutex_lock(&lock); }
void thread_fork_unlock(void) { mutex_unlock(&lock); }
