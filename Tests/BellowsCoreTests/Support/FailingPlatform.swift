// A platform that forwards to the real system and fails chosen calls with ENOMEM. It also keeps account of
// the address space that passes through it, so that a leak shows without looking at the whole process.

import BellowsCore
import CShims
import Glibc

/// Which calls fail.
enum FailureRule: Sendable, CustomStringConvertible {
  case none
  /// The n-th call, counted from 1.
  case nth(UInt)
  /// The n-th call of a kind.
  case nthOf(SystemCall, UInt)
  /// The n-th call and all after it.
  case from(UInt)
  /// Calls of a kind for so many bytes.
  case sized(SystemCall, ClosedRange<UInt>)
  /// Calls of a kind that start in a range of addresses.
  case within(SystemCall, Range<UInt>)

  var description: String {
    switch self {
    case .none: "no failure"
    case .nth(let n): "call \(n) fails"
    case .nthOf(let kind, let n): "call \(n) of kind \(kind) fails"
    case .from(let n): "calls from \(n) on fail"
    case .sized(let kind, let bytes): "calls of kind \(kind) for \(bytes) bytes fail"
    case .within(let kind, let range): "calls of kind \(kind) in \(range) fail"
    }
  }

  func applies(to kind: SystemCall, call: UInt, callOfKind: UInt, start: UInt, length: UInt) -> Bool {
    switch self {
    case .none: false
    case .nth(let n): call == n
    case .nthOf(let chosen, let n): kind == chosen && callOfKind == n
    case .from(let n): call >= n
    case .sized(let chosen, let bytes): kind == chosen && bytes.contains(length)
    case .within(let chosen, let range): kind == chosen && range.contains(start)
    }
  }
}

/// The double. One thread at a time may use it.
final class FailingPlatform: @unchecked Sendable {
  private var rule = FailureRule.none
  private var calls: UInt = 0
  private var callsOfKind = [UInt](repeating: 0, count: 32)
  private(set) var failures: UInt = 0
  /// Failed calls whose only purpose is to give back: what they should have undone stays.
  private(set) var failedUndos: UInt = 0
  private var mapped = RangeSet()

  /// Where the next reservation without a hint shall lie; 0: wherever the system likes.
  var nextReservation: UInt = 0
  /// Where the reservation of the next arena shall lie.
  var fence: Fence?
  /// The nodes of a machine that the system here is taken to be; nil: what it is.
  var nodes: NodeStandIn?
  /// Called once, after the next remap that succeeds: what another thread could do just then.
  var afterNextRemap: (() -> Void)?
  /// Called once, before the next discard: what a signal handler could do just then.
  var beforeNextDiscard: (() -> Void)?

  /// For arenas that do not outlive the double.
  var platform: Platform {
    let context = unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    return Platform(context: context) { context, call, a, b, c, d in
      let raw = unsafe UnsafeRawPointer(bitPattern: context)!
      let double = unsafe Unmanaged<FailingPlatform>.fromOpaque(raw).takeUnretainedValue()
      return double.perform(SystemCall(rawValue: call)!, a, b, c, d)
    }
  }

  /// Sets the rule and forgets the counts of the one before.
  func arm(_ rule: FailureRule) {
    self.rule = rule
    calls = 0
    failures = 0
    failedUndos = 0
    for kind in callsOfKind.indices { callsOfKind[kind] = 0 }
  }

  /// Bytes of address space that were handed out and not given back.
  var mappedBytes: UInt { mapped.bytes }

  private func perform(_ kind: SystemCall, _ a: UInt, _ b: UInt, _ c: UInt, _ d: UInt) -> Int {
    calls += 1
    callsOfKind[Int(kind.rawValue)] += 1
    let ofKind = callsOfKind[Int(kind.rawValue)]
    if rule.applies(to: kind, call: calls, callOfKind: ofKind, start: a, length: b) {
      failures += 1
      if kind == .release || kind == .reset { failedUndos += 1 }
      return -Int(ENOMEM)
    }
    if kind == .discard, let body = beforeNextDiscard {
      beforeNextDiscard = nil
      body()
    }
    if let answer = nodes?.answer(kind, a, b, c, d) { return answer }
    if kind == .reserve, a == 0, let start = fence?.take(b) {
      account(kind, start, a, b, d)
      return Int(start)
    }
    var (hint, exactly) = (a, c)
    if kind == .reserve, a == 0, nextReservation != 0 {
      (hint, exactly) = (nextReservation, 1)
      nextReservation = 0
    }
    let result = bellows_system(0, kind.rawValue, hint, b, exactly, d)
    if result >= 0 || result <= -4096 { account(kind, UInt(bitPattern: result), a, b, d) }
    return result
  }

  private func account(_ kind: SystemCall, _ result: UInt, _ a: UInt, _ length: UInt, _ newLength: UInt) {
    switch kind {
    case .reserve, .map: mapped.insert(result..<(result + length))
    case .release: mapped.remove(a..<(a + length))
    case .remap:
      mapped.remove(a..<(a + length))
      mapped.insert(result..<(result + newLength))
      let body = afterNextRemap
      afterNextRemap = nil
      body?()
    default: break
    }
  }
}

/// Ranges of addresses, none of which overlap.
private struct RangeSet {
  private var ranges: [Range<UInt>] = []

  var bytes: UInt { ranges.reduce(0) { $0 + UInt($1.count) } }

  mutating func insert(_ range: Range<UInt>) {
    remove(range)
    ranges.append(range)
  }

  mutating func remove(_ range: Range<UInt>) {
    ranges = ranges.flatMap { old in
      guard old.overlaps(range) else { return [old] }
      let below = old.lowerBound..<max(old.lowerBound, range.lowerBound)
      let above = min(old.upperBound, range.upperBound)..<old.upperBound
      return [below, above].filter { !$0.isEmpty }
    }
  }
}
