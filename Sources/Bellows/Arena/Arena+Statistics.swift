import BellowsCore

extension Arena {
  /// The figures of an arena at one moment, exact in pages.
  ///
  /// Of what is `committed`, `memmap` and `allocated` are in use; the rest is free, and of that
  /// `freeResident` may still be resident.
  public struct Statistics: Hashable, Sendable, Codable {
    /// The version of this form; changes when a field changes its meaning.
    public var schema = 1
    /// Address space that the arena reserved: its capacity.
    public var reserved: ByteCount
    /// Of that, address space of sections.
    public var present: ByteCount
    /// Of that, accessible.
    public var committed: ByteCount
    /// Page descriptors: 1/64 of each section.
    public var memmap: ByteCount
    /// Pages that are kept from allocation: by balloons and pools, and of sub-blocks that are unplugged.
    public var withheld: ByteCount
    /// Pages that allocations and the blocks of heaps lie in.
    public var allocated: ByteCount
    /// Free pages that were used and not yet returned.
    public var freeResident: ByteCount
    /// Returned to the system since the start: a running sum.
    public var returned: ByteCount
    /// The engine's records, mapped outside of the arena's addresses; resident is what is needed of it.
    public var metadata: ByteCount
    /// The number of sections.
    public var sections: Int
  }

  /// The figures of this moment.
  ///
  /// - Complexity: O(sections), under the arena's locks.
  public func statistics() -> Statistics {
    core.growth.acquire()
    defer { core.growth.release() }
    let totals = core.totals()
    return Statistics(
      reserved: addressRange.byteCount,
      present: ByteCount(pages: totals.present),
      committed: ByteCount(pages: totals.committed),
      memmap: ByteCount(pages: totals.memmap),
      withheld: ByteCount(pages: totals.withheld),
      allocated: ByteCount(pages: totals.used),
      freeResident: ByteCount(pages: totals.dirty),
      returned: ByteCount(pages: totals.returned),
      metadata: .bytes(Int(records.mappedBytes)),
      sections: Int(core.it.sections))
  }
}
