// What a process on Bellows shows to readers in other processes: where its records are, and in what form.
//
// The .so exports it as bellows_process_header. A reader finds the symbol in the image that the process has mapped,
// and copies the header and then the records with process_vm_readv, so that the kernel decides who may: nothing in
// the process takes part, and a stopped one can be read like a running one.
//
// The first 32 bytes keep their form for ever. The rest means something only to a reader of the same layout and
// version, since the records are the engine's own.
#ifndef BELLOWS_HEADER_H
#define BELLOWS_HEADER_H

#include <stdint.h>

// "Bellows" and a 0.
#define BELLOWS_HEADER_MAGIC 0x0073776f6c6c6542
#define BELLOWS_VERSION_TEXT "0.1.0"

// Raised by every change to the records below: their fields, their sizes, what their words mean.
enum { BELLOWS_HEADER_LAYOUT = 3 };

struct bellows_header {
  uint64_t magic;
  uint32_t layout;
  uint32_t bytes;     // of this header
  char version[16];   // ends with a 0

  // Zero until the process heap is set up.
  uint64_t arena;     // addresses in the process
  uint64_t zone;
  uint64_t heap;
  uint64_t status;    // of the word that says whether the heap is in use: 2, or 3 where another malloc serves
  // Bytes of the records, for a second look at whether reader and process agree.
  uint32_t arena_bytes;
  uint32_t zone_bytes;
  uint32_t heap_bytes;
  uint32_t thread_heap_bytes;
  uint32_t section_bytes;
  uint32_t pageblock_bytes;
};

#endif
