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

  var description: String {
    switch self {
    case .none: "no failure"
    case .nth(let n): "call \(n) fails"
    case .nthOf(let kind, let n): "call \(n) of kind \(kind) fails"
    case .from(let n): "calls from \(n) on fail"
    }
  }
}

final class FailingPlatform: Sendable {
  /// What the C entry reads and writes: plain words at the address that is its context.
  private struct State: BitwiseCopyable {
    var first: UInt
    var last: UInt
    var kind: UInt32
    var calls: UInt
    var failures: UInt
    var failedReleases: UInt
    /// Bytes of address space that were handed out and not yet released.
    var mappedBytes: UInt
    /// Where the next reservation without a hint shall lie; 0: wherever the system likes.
    var nextReservation: UInt
    /// Called after each successful remap, with the address of the memory that moved away.
    var calledAfterRemap: UInt
  }

  static let anyKind: UInt32 = .max

  private let memory = Memory(4096)
  private var state: Ref<State> { Ref<State>(memory.address) }

  init() { arm(.none) }

  var platform: Platform {
    Platform(context: memory.address) { context, call, a, b, c, d in
      FailingPlatform.perform(Ref<State>(context), call, a, b, c, d)
    }
  }

  /// Sets the rule and forgets the counts of the one before.
  func arm(_ rule: FailureRule) {
    state.it.calls = 0
    state.it.failures = 0
    state.it.failedReleases = 0
    state.it.kind = Self.anyKind
    switch rule {
    case .none: (state.it.first, state.it.last) = (.max, 0)
    case .nth(let n): (state.it.first, state.it.last) = (n, n)
    case .nthOf(let kind, let n):
      (state.it.first, state.it.last) = (n, n)
      state.it.kind = kind.rawValue
    case .from(let n): (state.it.first, state.it.last) = (n, .max)
    }
  }

  var failures: UInt { state.it.failures }
  /// Releases that failed: what was not given back then stays mapped.
  var failedReleases: UInt { state.it.failedReleases }
  var mappedBytes: UInt { state.it.mappedBytes }

  /// Makes the system's next reservation lie at `address`, once.
  func placeNextReservation(at address: UInt) { state.it.nextReservation = address }

  /// Runs `body` (once) right after the next successful remap: what another thread could do then.
  func afterNextRemap(_ body: @escaping () -> Void) {
    state.it.calledAfterRemap = unsafe UInt(bitPattern: Unmanaged.passRetained(Box(body)).toOpaque())
  }

  private final class Box {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  private static func perform(
    _ state: Ref<State>, _ call: UInt32, _ a: UInt, _ b: UInt, _ c: UInt, _ d: UInt
  ) -> Int {
    let kind = SystemCall(rawValue: call)!
    if state.it.kind == anyKind || state.it.kind == call {
      state.it.calls += 1
      if state.it.calls >= state.it.first, state.it.calls <= state.it.last {
        state.it.failures += 1
        if kind == .release { state.it.failedReleases += 1 }
        return -Int(ENOMEM)
      }
    }
    var hint = a
    var exactly = c
    if kind == .reserve, a == 0, state.it.nextReservation != 0 {
      hint = state.it.nextReservation
      exactly = 1
      state.it.nextReservation = 0
    }
    let result = bellows_system(0, call, hint, b, exactly, d)
    if result >= 0 || result <= -4096 { account(state, kind, b, d) }
    return result
  }

  private static func account(_ state: Ref<State>, _ kind: SystemCall, _ length: UInt, _ newLength: UInt) {
    switch kind {
    case .reserve, .map: state.it.mappedBytes += length
    case .release: state.it.mappedBytes -= length
    case .remap:
      // The target was mapped and is replaced; the source is gone.
      state.it.mappedBytes -= length
      let called = state.it.calledAfterRemap
      state.it.calledAfterRemap = 0
      if called != 0 {
        let raw = unsafe UnsafeRawPointer(bitPattern: called)!
        unsafe Unmanaged<Box>.fromOpaque(raw).takeRetainedValue().body()
      }
    default: break
    }
  }
}
