import Bellows
import SystemPackage

/// Which sub-blocks come and go, and in which order: what virtio-mem's driver does in a kernel, here outside of the
/// engine, on its public interface alone.
///
/// Plug: sections that are plugged in part come first, then those that are wholly unplugged, then new ones; from the
/// lowest address up. Unplug: sections that are plugged in part, then the others; from the highest address down. A
/// sub-block that is in use is skipped.
struct Policy {
  let subBlocks: SubBlocks

  /// What kept a round from its target.
  struct Reason: Encodable {
    var reason: String
    var subBlocks: Int
    /// Pages in use in these sub-blocks.
    var usedPages = 0
  }

  /// What a round came to.
  struct Round {
    var reasons: [Reason] = []
    /// The request changed meanwhile: look again at once.
    var isOutdated = false
  }

  private var size: Int { subBlocks.subBlockSize.rawValue }

  func plugged(_ all: [SubBlocks.SubBlock]) -> ByteCount { .bytes(all.count { $0.isPlugged } * size) }

  /// One round towards `requested`; `isOutdated` is asked before each step.
  func advance(to requested: ByteCount, isOutdated: () -> Bool) -> Round {
    let all = subBlocks.all
    let wanted = requested.rawValue / size - all.count { $0.isPlugged }
    return wanted >= 0 ? plug(wanted, all, isOutdated) : unplug(-wanted, all, isOutdated)
  }

  /// Sections that are plugged in part, before the others.
  private func inOrder(_ all: [SubBlocks.SubBlock]) -> [[SubBlocks.SubBlock]] {
    let sections = Dictionary(grouping: all, by: \.section).values
      .sorted { $0[0].addressRange.start < $1[0].addressRange.start }
    let isPartial = { (section: [SubBlocks.SubBlock]) in
      section.contains { $0.isPlugged } && section.contains { !$0.isPlugged }
    }
    return sections.filter(isPartial) + sections.filter { !isPartial($0) }
  }

  private func plug(_ count: Int, _ all: [SubBlocks.SubBlock], _ isOutdated: () -> Bool) -> Round {
    var round = Round()
    var left = count
    var candidates = inOrder(all).joined().filter { !$0.isPlugged }
    while left > 0 {
      if isOutdated() {
        round.isOutdated = true
        return round
      }
      do throws(Errno) {
        if candidates.isEmpty {
          let section = try subBlocks.addSection()
          candidates = subBlocks.all.filter { $0.section == section }
        }
        try subBlocks.plug(candidates.removeFirst().addressRange.start)
        left -= 1
      } catch {
        round.reasons.append(
          Reason(reason: error == .noMemory ? "no memory" : error.description, subBlocks: left))
        return round
      }
    }
    return round
  }

  private func unplug(_ count: Int, _ all: [SubBlocks.SubBlock], _ isOutdated: () -> Bool) -> Round {
    var round = Round()
    var left = count
    var busy = Reason(reason: "in use", subBlocks: 0)
    let order = inOrder(all)
    let partial = order.prefix { section in
      section.contains { !$0.isPlugged } && section.contains { $0.isPlugged }
    }
    let candidates =
      partial.reversed().flatMap { $0.reversed() }
      + order.dropFirst(partial.count).reversed().flatMap { $0.reversed() }
    for candidate in candidates where candidate.isPlugged && left > 0 {
      if isOutdated() {
        round.isOutdated = true
        return round
      }
      do throws(Errno) {
        try subBlocks.unplug(candidate.addressRange.start)
        left -= 1
      } catch {
        if error == .resourceBusy {
          busy.subBlocks += 1
          busy.usedPages += candidate.usedPages
        } else {
          round.reasons.append(Reason(reason: error.description, subBlocks: 1))
        }
      }
    }
    if left > 0, busy.subBlocks > 0 { round.reasons.append(busy) }
    return round
  }
}
