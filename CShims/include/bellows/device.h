/* device.h: device memory: a file, or nothing accessible, with descriptors and an owner, in units that are counted. No
 * allocation ever lies in it.
 *
 * All functions may be called from any thread. Those that answer int answer 0 or an errno, and have changed nothing where
 * that is not said otherwise. ENOSYS: the process has no Bellows heap; ENOMEM: the system, or the arena, has no memory.
 */
#ifndef BELLOWS_DEVICE_H
#define BELLOWS_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bellows_device;

/* The last reference to a unit has gone. In the thread that dropped it, with no lock held; it may take the unit again. It
 * must not remove the device. */
typedef void bellows_device_freed(void *context, void *unit, size_t bytes);

struct bellows_device_request {
  size_t bytes;  /* a multiple of the unit */
  int file;      /* an open file, not needed afterwards; -1: inaccessible addresses with descriptors */
  uint32_t huge; /* 1: units of 2 MiB, of a file of huge pages; 0: units of a page */
  size_t offset; /* in the file */
  size_t reserve;         /* with memmap_inside: bytes at the start that are the owner's */
  uint32_t memmap_inside; /* 1: the descriptors lie in the region */
  uint32_t hold;          /* 1: the region holds a reference to each unit, of which the owner is not told */
  bellows_device_freed *freed;
  void *context;
};

/* Adds a device: in *device. EINVAL: lengths, or a file that is too short. And what the system says of the file. */
int bellows_device_add(struct bellows_arena *arena, const struct bellows_device_request *request, size_t size,
                       struct bellows_device **device);
/* The first unit, and in *count (unless NULL) how many there are. */
void *bellows_device_units(struct bellows_device *device, size_t *count);
/* Takes the first reference to a unit: EBUSY where somebody has one, ENXIO while the device is being removed. */
int bellows_device_acquire(struct bellows_device *device, void *unit);
/* One reference more or less. EINVAL: the unit is not in use. */
int bellows_device_retain(struct bellows_device *device, void *unit);
int bellows_device_release(struct bellows_device *device, void *unit);
/* Removes it, once no unit is in use: EBUSY after so many milliseconds. The file keeps what was written. */
int bellows_device_remove(struct bellows_device *device, unsigned milliseconds);

#ifdef __cplusplus
}
#endif
#endif
