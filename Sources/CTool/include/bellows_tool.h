// What the tool needs of C beside what it has in common with the library.
#ifndef BELLOWS_TOOL_H
#define BELLOWS_TOOL_H

#include <stdint.h>

// ---- How the tool was started ----------------------------------------------------------------------------
// Swift reads its arguments from /proc/self/cmdline, and is told none where there is no /proc: these are main's.

int bellows_argument_count(void);
// The i-th argument, a C string; NULL behind the last.
const char *bellows_argument(int i);
// The path that this program was executed by: as the caller gave it. NULL where the kernel does not say.
const char *bellows_executed_path(void);

// ---- Signals that end a program ---------------------------------------------------------------------------

// From now on SIGINT, SIGTERM and SIGHUP are noted, the second one ends as ever; those that are ignored stay so.
void bellows_interruption_watch(void);
// The signal that came since then; 0: none.
int bellows_interruption(void);
// All is as before.
void bellows_interruption_end(void);
// Ends as the signal would have.
void bellows_interruption_follow(int number);

// ---- A channel without /proc ------------------------------------------------------------------------------

// The page of a process that takes commands (bellows_control.h), by a descriptor taken from the thread that holds it
// (Linux 6.9). Answers a descriptor with the page in *page, or an errno negated: ENOSYS where the kernel cannot, EPERM where the
// caller may not, ENOENT where there is no page, ESRCH where there is no such process.
int bellows_channel_take(int process, uintptr_t *page);

#endif
