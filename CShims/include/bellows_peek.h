// Reading the memory of another process, for the tool. The kernel checks for each call that the caller may: same user,
// both dumpable, and what a security module adds (Yama).
#ifndef BELLOWS_PEEK_H
#define BELLOWS_PEEK_H

#include <stdint.h>

// Copies `length` bytes from `remote` in the process to `local`. Returns 0, or an errno: EFAULT where not all of it is
// mapped, EPERM where the caller may not, ESRCH where the process is gone.
int bellows_peek(int process, uintptr_t remote, uintptr_t local, uintptr_t length);

// The same, and copies the 8 bytes at `word` before and after: one system call, in this order.
int bellows_peek_between(int process, uintptr_t word, uint64_t *before, uint64_t *after, uintptr_t remote,
                         uintptr_t local, uintptr_t length);

// Copies 8 bytes from each of `count` addresses.
int bellows_peek_words(int process, const uint64_t *remote, uint64_t *local, uintptr_t count);

// The shared page of a process that takes commands (bellows_control.h). Opens the file at `path`, checks that it is
// sealed in its size, which no other file is, and maps it to *page. Answers a descriptor, or an errno negated: EINVAL
// where it is another file.
int bellows_channel_open(const char *path, uintptr_t *page);
// Tries to get the channel for this process alone; the kernel takes it back when this process ends, or closes a descriptor of
// the page. Returns whether it did.
int bellows_channel_lock(int descriptor);
void bellows_channel_close(int descriptor, uintptr_t page);

#endif
