// The format of a recording. Numbers are little-endian; `varint` is seven bits to a byte, least first, the top bit set
// where more follow; `zigzag` is a signed number n as 2n or -2n-1.
//
// A file is a header and chunks. A chunk holds events of one thread, in order; chunks of different threads stand in any
// order, so events are put into one order by their time. A chunk that the end of the process cut off is left out.
//
//   header   trace_header, 64 bytes
//   chunk    trace_chunk, 32 bytes, then `length` bytes of events
//   event    one byte: kind, then
//            varint   nanoseconds since the event before in this chunk (the first: since `time` of the chunk)
//            zigzag   address / 8 minus that of the event before in this chunk (the first: minus 0)
//            varint   size in bytes, for ALLOCATE, MOVED and ALLOCATE_ALIGNED only
//            one byte the alignment, as a power of two, for ALLOCATE_ALIGNED only
//
// The time of a free is taken before the call and that of an allocation after it, so an address is never handed out
// before it was given back. A realloc is two events of its thread, with other threads' events between them: MOVING when
// it is called and MOVED when it returns. MOVED with size 0 and the old address: it failed, the block stays. With size 0
// and address 0: the block is gone, or has an address that is not among those recorded.
//
// A child's recording begins at its fork, or at its start where it became another program. It may free blocks that it does
// not allocate: they were its parent's.
//
// Schema 2 has ALLOCATE_ALIGNED and `parent`; a file of schema 1 is one of schema 2 without them.
#ifndef BELLOWS_TRACE_H
#define BELLOWS_TRACE_H

#include <stdint.h>

enum { TRACE_SCHEMA = 2 };
enum trace_kind { TRACE_ALLOCATE = 1, TRACE_FREE = 2, TRACE_MOVING = 3, TRACE_MOVED = 4, TRACE_ALLOCATE_ALIGNED = 5 };
enum { TRACE_CHUNK_MAGIC = 0x4b4e4843 }; // "CHNK"

struct trace_header {
  char magic[8]; // "BLWTRACE"
  uint32_t schema;
  uint32_t sampled; // one address in so many is recorded; 1: all
  uint64_t start;   // CLOCK_REALTIME at the start, nanoseconds
  uint32_t process;
  uint32_t parent;  // of a child: the process that it comes from; 0: none
  char command[32]; // the program's name, cut off
};

struct trace_chunk {
  uint32_t magic;
  uint32_t length; // of the events, in bytes
  uint32_t thread; // numbered from 0 in the order of their first events
  uint32_t events;
  uint64_t time;   // nanoseconds since the start of the recording
  uint64_t reserved;
};

#endif
