// What a node's memory costs from another node's processors.
//
//   latency      a chain of loads, each of which has the address of the next, through all cache lines in random order
//   bandwidth    reading, writing and copying in order, by one thread
//   rates        malloc and free of small blocks in an arena, whose pages and page descriptors are on chosen nodes
//
// Each is the best of several rounds: what disturbs a round makes it slower, never faster.

import BellowsCore

/// Measurements of one pair of nodes.
package struct NodeExperiments: Sendable {
  /// Memory of a latency or bandwidth measurement: well above any cache.
  package var bytes: Int
  /// How often each is repeated.
  package var rounds: Int

  package init(bytes: Int = 64 << 20, rounds: Int = 3) {
    self.bytes = bytes
    self.rounds = rounds
  }

  private static let lineBytes: UInt = 64

  /// Nanoseconds that a load takes that depends on the one before it.
  package func latency(from cpuNode: NodeNumber, to memoryNode: NodeNumber) throws -> Double {
    try NodePinning.run(on: cpuNode) {
      let memory = try NodeMemory(bytes, on: memoryNode)
      let lines = memory.bytes / Self.lineBytes
      Self.linkLines(memory.start, lines)
      let loads = min(lines, 1 << 20)
      var best = Double.infinity
      for _ in 0..<rounds {
        var address = memory.start
        let seconds = Self.seconds {
          for _ in 0..<loads { address = Ref<UInt>(address).it }
        }
        Self.use(address)
        best = min(best, seconds * 1e9 / Double(loads))
      }
      return best
    }
  }

  /// Links the first words of all lines in one cycle of random order (Sattolo's shuffle, from a fixed seed).
  private static func linkLines(_ start: UInt, _ lines: UInt) {
    func line(_ index: UInt) -> Ref<UInt> { Ref<UInt>(start + index * lineBytes) }
    for index in 0..<lines { line(index).it = line(index).address }
    var state: UInt = 88_172_645_463_325_252
    for index in stride(from: lines - 1, to: 0, by: -1) {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      let other = line(state % index)
      let mine = line(index)
      (mine.it, other.it) = (other.it, mine.it)
    }
  }

  /// Bytes a second of one thread.
  package struct Bandwidth: Codable, Equatable, Sendable {
    package var read: Double
    package var write: Double
    /// Bytes copied, each of them read and written.
    package var copy: Double
  }

  package func bandwidth(from cpuNode: NodeNumber, to memoryNode: NodeNumber) throws -> Bandwidth {
    try NodePinning.run(on: cpuNode) {
      let memory = try NodeMemory(bytes, on: memoryNode)
      let words = memory.bytes / 8
      let half = words / 2 * 8
      let (start, end) = (memory.start, memory.start + words * 8)
      let read = best(Int(memory.bytes)) {
        var sums: (UInt, UInt, UInt, UInt) = (0, 0, 0, 0)
        for at in stride(from: start, to: end, by: 32) {
          sums.0 &+= Ref<UInt>(at).it
          sums.1 &+= Ref<UInt>(at &+ 8).it
          sums.2 &+= Ref<UInt>(at &+ 16).it
          sums.3 &+= Ref<UInt>(at &+ 24).it
        }
        Self.use(sums.0 &+ sums.1 &+ sums.2 &+ sums.3)
      }
      let write = best(Int(memory.bytes)) {
        for at in stride(from: start, to: end, by: 8) { Ref<UInt>(at).it = at }
      }
      let copy = best(Int(half)) {
        for at in stride(from: start, to: start &+ half, by: 8) {
          Ref<UInt>(at).it = Ref<UInt>(at &+ half).it
        }
      }
      return Bandwidth(read: read, write: write, copy: copy)
    }
  }

  private func best(_ bytes: Int, _ body: () -> Void) -> Double {
    (0..<rounds).map { _ in Double(bytes) / Self.seconds(body) }.max() ?? 0
  }

  /// Blocks allocated and freed a second, by one thread, in an arena on `memoryNode` whose page descriptors are on
  /// `memmapNode`.
  package func allocationRate(
    from cpuNode: NodeNumber, to memoryNode: NodeNumber, memmapOn memmapNode: NodeNumber
  ) throws -> Double {
    try NodePinning.run(on: cpuNode) {
      let arena = try Arena(reserving: .mebibytes(32), configuration: .init(sectionSize: .mebibytes(8)))
      try arena.place(.preferred(memoryNode), memmap: .node(memmapNode))
      let heap = try arena.makeHeap()
      // Batches, so that shards fill and empty: each of them touches its descriptors. Blocks are not written.
      var blocks = unsafe [UnsafeMutableRawBufferPointer]()
      let batch = 4096
      unsafe blocks.reserveCapacity(batch)
      var best = 0.0
      for _ in 0..<(rounds + 1) {
        var failure: AllocationError?
        let seconds = Self.seconds {
          for _ in 0..<8 {
            for _ in 0..<batch {
              do throws(AllocationError) {
                unsafe blocks.append(try heap.allocate(byteCount: 256).leak())
              } catch { failure = error }
            }
            while let block = unsafe blocks.popLast() { unsafe heap.deallocate(block) }
          }
        }
        if let failure { throw failure }
        best = max(best, Double(8 * batch) / seconds)
      }
      return best
    }
  }

  private static func seconds(_ body: () -> Void) -> Double {
    PageMover.seconds(ContinuousClock().measure(body))
  }

  /// Keeps the compiler from leaving out work whose result nobody wants.
  @inline(never)
  private static func use(_ value: UInt) { withExtendedLifetime(value) {} }
}
