// Replays a recording: each recorded thread's operations in its own thread, at their recorded times or as soon as may
// be. A block is freed after it was allocated and a place is used again after it was freed, whichever threads do it:
// each step waits for its turn at its slot.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "workload-program.h"

enum { BUFFER = 2048 };
static struct wl_replay_header header;
static struct slot *slots;
static uint32_t *turns;
static int file;
static double pace;

void replay_prepare(void) {
  file = settings.trace == NULL ? -1 : open(settings.trace, O_RDONLY | O_CLOEXEC);
  if (file < 0) fail("the trace %s: %s", settings.trace ? settings.trace : "is missing", strerror(errno));
  if (read(file, &header, sizeof header) != (ssize_t)sizeof header || header.magic != WL_REPLAY_MAGIC ||
      header.lanes == 0 || header.lanes > WL_LANES)
    fail("%s is not a prepared trace", settings.trace);
  settings.threads = header.lanes;
  slots = own_memory((header.slots + 1) * sizeof *slots);
  turns = own_memory((header.slots + 1) * sizeof *turns);
  // Read piece by piece: a mapped file would count as resident.
  for (uint32_t i = 0; i < header.lanes; i++) {
    lane_prepare(&lanes[i], i, 0);
    lanes[i].private = own_memory(BUFFER * sizeof(struct wl_replay_step));
  }
  double recorded = (double)header.duration / 1e9;
  // A longer recording is pressed into the time that there is; a shorter one keeps its own.
  pace = recorded > settings.seconds && recorded > 0 ? settings.seconds / recorded : 1;
}

static void play(struct lane *lane) {
  struct wl_replay_step *steps = lane->private;
  uint64_t left = header.count[lane->index], read_so_far = 0;
  while (left > 0) {
    uint64_t batch = left < BUFFER ? left : BUFFER;
    off_t place = (off_t)(sizeof header + (header.first[lane->index] + read_so_far) * sizeof *steps);
    ssize_t got = pread(file, steps, batch * sizeof *steps, place);
    if (got != (ssize_t)(batch * sizeof *steps)) fail("the trace ends too early");
    for (uint64_t i = 0; i < batch; i++) {
      struct wl_replay_step *step = &steps[i];
      double due = (double)step->time / 1e9 * pace, time = elapsed();
      if (due > time + 0.0002) {
        double wait = due - time;
        nanosleep(&(struct timespec){(time_t)wait, (long)((wait - (double)(time_t)wait) * 1e9)}, NULL);
      }
      uint32_t *turn = &turns[step->slot];
      for (int tries = 0; wl_load32(turn) != step->turn; tries++) {
        if (tries < 1000) sched_yield();
        else nanosleep(&(struct timespec){0, 100000}, NULL);
      }
      struct slot *slot = &slots[step->slot];
      size_t size = step->size_kind << 8 >> 10;
      switch (step->size_kind & 3) {
      case WL_ALLOCATE: allocate(lane, slot, size); break;
      case WL_ALLOCATE_ALIGNED: allocate_aligned(lane, slot, size, (size_t)1 << (step->size_kind >> WL_ALIGNMENT_SHIFT)); break;
      case WL_FREE: release(lane, slot); break;
      case WL_REALLOCATE: reallocate(lane, slot, size); break;
      }
      wl_store32(turn, step->turn + 1);
    }
    left -= batch;
    read_so_far += batch;
  }
}

void replay_run(void) {
  crew_do(play);
  event("end of the trace");
  // What the recording left behind lives on while memory settles.
  wait_until(elapsed() + 2);
}
