// Which sections a command means.

import Bellows

/// Sections by amount, by address, or by the number of their memory block.
struct SectionChoice: Equatable {
  enum Amount: Equatable {
    case bytes(Int)
    case range(ClosedRange<UInt>)
    case blocks([ClosedRange<Int>])
  }

  let amount: Amount
  let node: Int?
  let zone: String?

  /// Reads what the user wrote; nil where it makes no sense.
  init?(amount: String?, blocks: String?, node: Int? = nil, zone: String? = nil) {
    self.node = node
    self.zone = zone
    if let blocks {
      let ranges = blocks.split(separator: ",", omittingEmptySubsequences: false).map { Self.range($0) }
      guard !ranges.isEmpty, !ranges.contains(nil) else { return nil }
      self.amount = .blocks(ranges.compactMap { $0 })
    } else if let amount, amount.hasPrefix("0x") {
      let ends = amount.split(separator: "-", omittingEmptySubsequences: false)
      guard ends.count == 2, let first = Self.address(ends[0]), let last = Self.address(ends[1]),
        first <= last
      else { return nil }
      self.amount = .range(first...last)
    } else {
      // As chmem: a number alone counts MiB.
      guard let amount, let bytes = Bytes.parse(amount, unit: 1 << 20), bytes > 0 else { return nil }
      self.amount = .bytes(bytes)
    }
  }

  private static func range(_ text: Substring) -> ClosedRange<Int>? {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard let first = ends[0], first >= 0, ends.count <= 2, let last = ends[ends.count - 1], first <= last
    else { return nil }
    return first...last
  }

  private static func address(_ text: Substring) -> UInt? {
    text.hasPrefix("0x") ? UInt(text.dropFirst(2), radix: 16) : nil
  }

  /// Whether the process chooses, which knows best: only an amount is given.
  var isOpen: Bool {
    if case .bytes = amount { node == nil && zone == nil } else { false }
  }

  /// What is wrong with a choice.
  enum Problem: Error, Equatable {
    case misaligned(sectionBytes: Int)
    case noSuchBlock(Int)
    case nothingThere
    /// The work on one of them ended by something else.
    case stopped(TargetError)
  }

  /// The sections that are meant, in the order in which they are to go or to come.
  func sections(of snapshot: HeapSnapshot, online: Bool) throws(Problem) -> [SectionSnapshot] {
    let fitting = snapshot.sections.filter {
      (node == nil || $0.node == node) && (zone == nil || $0.zone == nil || $0.zone == zone)
    }
    switch amount {
    case .range(let range):
      let size = UInt(snapshot.sectionBytes)
      guard range.lowerBound % size == 0, (range.upperBound &+ 1) % size == 0 else {
        throw .misaligned(sectionBytes: snapshot.sectionBytes)
      }
      let chosen = fitting.filter { range.contains($0.base) }
      guard !chosen.isEmpty else { throw .nothingThere }
      return online ? chosen : chosen.reversed()
    case .blocks(let ranges):
      var chosen: [SectionSnapshot] = []
      for range in ranges {
        for number in range {
          let sections = fitting.filter { $0.block == number }
          guard !sections.isEmpty else { throw .noSuchBlock(number) }
          chosen += sections
        }
      }
      return chosen
    case .bytes(let bytes):
      let wanted = snapshot.wholeSections(bytes) / snapshot.sectionBytes
      // Offline: the emptiest, of equals the youngest. Online: those on their way first, then the youngest.
      let candidates = fitting.filter {
        online ? $0.state != "online" || $0.cagedBytes > 0 : $0.state == "online"
      }
      let ordered = candidates.sorted { a, b in
        online
          ? (a.state == "offline" ? 1 : 0, -a.block) < (b.state == "offline" ? 1 : 0, -b.block)
          : (a.usedBytes, -a.block) < (b.usedBytes, -b.block)
      }
      guard !ordered.isEmpty else { throw .nothingThere }
      return Array(ordered.prefix(wanted))
    }
  }
}
