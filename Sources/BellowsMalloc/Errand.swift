// What a thread of the program, or the worker of control, asks the helper to do: it has no descriptors to look with, and may
// not make the calls that it takes.
//
//     idle ──claimed──► writing ──► posted ──taken──► under way ──► done ──────► idle
//                                     │                 └─ too long: abandoned ───┤
//                                     └── in vain: withdrawn ─────────────────────┘
//
// Where there is no helper, or it may not either, the answer is no.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Errand {
  enum Kind: UInt32 {
    /// Every running thread passes a memory barrier.
    case barrier
    /// Whether a thread is blocked outside the hit paths, after a barrier.
    case isParked
    /// Takes what threads keep that did nothing since the last look.
    case trimIdle
    /// Whether a thread is free to make any call.
    case isClear
    /// Bytes that may be placed on a node, its number being the thread's.
    case nodeRoom
  }

  private enum State: UInt32 { case idle, writing, posted, underWay, done, abandoned }

  private static var box: Ref<bellows_errand> { Watch.errand }
  private static var word: UInt { box.address }

  static func ask(_ kind: Kind, thread: UInt32 = 0, stack: UInt = 0, words: UInt = 0, lock: UInt = 0) -> Bool
  {
    var bytes: UInt = 0
    return ask(kind, thread: thread, stack: stack, words: words, lock: lock, bytes: &bytes)
  }

  private static func ask(
    _ kind: Kind, thread: UInt32, stack: UInt = 0, words: UInt = 0, lock: UInt = 0, bytes: inout UInt
  ) -> Bool {
    guard Helper.isThere, claim() else { return false }
    box.it.kind = kind.rawValue
    box.it.thread = thread
    box.it.stack = stack
    box.it.words = words
    box.it.lock = lock
    bellows_store32(word, State.posted.rawValue)
    Helper.ring()
    let end = bellows_clock_milliseconds() &+ 1000
    while true {
      let state = bellows_load32(word)
      if state == State.done.rawValue { break }
      // The child of a handler's fork: nobody was asked here.
      if state == State.idle.rawValue { return false }
      // It sleeps on something else, or has ended meanwhile.
      if state == State.posted.rawValue, bellows_clock_milliseconds() > end || !Helper.isThere,
        bellows_compare_exchange32(word, state, State.idle.rawValue)
      {
        return false
      }
      // A filter may have ended the helper's thread in the middle of it.
      if state == State.underWay.rawValue, bellows_clock_milliseconds() > end &+ longest,
        bellows_compare_exchange32(word, state, State.abandoned.rawValue)
      {
        return false
      }
      bellows_futex_wait_for(word, state, 20)
    }
    let answer = box.it.answer != 0
    bytes = box.it.bytes
    bellows_store32(word, State.idle.rawValue)
    return answer
  }

  /// Bytes that may be placed on a node, or -ENODEV.
  static func nodeRoom(_ node: UInt32) -> Int {
    var bytes: UInt = 0
    return ask(.nodeRoom, thread: node, bytes: &bytes) ? Int(bitPattern: bytes) : -19
  }

  /// Milliseconds that an errand may take, more than any does: a look at each of 10,000 threads.
  private static var longest: UInt64 { 10_000 }

  private static func claim() -> Bool {
    let end = bellows_clock_milliseconds() &+ 1000
    while !bellows_compare_exchange32(word, State.idle.rawValue, State.writing.rawValue) {
      guard bellows_clock_milliseconds() <= end else { return false }
      bellows_sleep_milliseconds(1)
    }
    return true
  }

  /// The helper: does what is asked for, or refuses it because it ends.
  static func serve(isRefusing: Bool = false) {
    guard bellows_compare_exchange32(word, State.posted.rawValue, State.underWay.rawValue) else { return }
    let kind = isRefusing ? nil : Kind(rawValue: box.it.kind)
    box.it.answer = kind.map { perform($0) } ?? false ? 1 : 0
    if !bellows_compare_exchange32(word, State.underWay.rawValue, State.done.rawValue) {
      bellows_store32(word, State.idle.rawValue)
    }
    bellows_futex_wake(word)
  }

  private static func perform(_ kind: Kind) -> Bool {
    // A look comes right before each thing that takes one.
    guard Helper.look() == .clear else { return false }
    switch kind {
    case .barrier: return Helper.passBarrier()
    case .isParked: return Helper.isParked(box.it.thread, box.it.stack, box.it.words, box.it.lock)
    case .trimIdle: return Helper.trimIdleThreads()
    case .isClear: return bellows_sight_is_clear(box.it.thread)
    case .nodeRoom:
      let room = bellows_node_room(box.it.thread)
      box.it.bytes = UInt(bitPattern: room)
      return room >= 0
    }
  }

  /// In the child of a fork nobody asked.
  static func forget() { bellows_store32(word, State.idle.rawValue) }
}
