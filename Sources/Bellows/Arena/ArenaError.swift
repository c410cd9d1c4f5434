/// Why an arena could not be made.
@nonexhaustive
public enum ArenaError: Error, Hashable, Sendable {
  /// The capacity is below one byte or above 64 TiB.
  case invalidCapacity
  /// The section size is not a power of two from 4 MiB to 1 GiB.
  case invalidSectionSize
  /// A memory block is less than a section, or more than the arena.
  case invalidBlockSize
  /// This system's pages are not 4 KiB; Bellows has nothing to offer here.
  case unsupportedPageSize
  /// The system refuses so much address space (RLIMIT_AS), or has no memory for the arena's records.
  case noAddressSpace
}

/// Why memory could not be had from an arena or a heap.
@nonexhaustive
public enum AllocationError: Error, Hashable, Sendable {
  /// The number of bytes or pages is below one.
  case invalidByteCount
  /// The alignment is not a power of two.
  case invalidAlignment
  /// No section can hold so much, so aligned: more capacity would not help, larger sections would.
  case tooLarge
  /// The arena's capacity is used up, or the system refuses memory.
  case exhausted
}
