// bellows_limit and BELLOWS_LIMIT: how much the process heap may hold, and who is told when that is reached.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Limits {
  /// Sets the limits, in bytes; 0: none.
  static func set(soft: UInt, hard: UInt) {
    Process.heap.setLimit(soft: Page.count(soft), hard: Page.count(hard))
  }

  /// Writes a line, and calls back: with no lock held, in the thread whose request crossed the limit or in one that
  /// came soon after.
  @inline(never)
  static func tell(_ news: UInt) {
    let held = Process.heap.heldPages() &<< Page.shift
    let limits = Process.heap.limits
    if Log.isOn {
      var event = Log.Event("limit")
      event.add("kind", news & Limit.hardBit != 0 ? "hard" : "soft")
      event.add("held", held)
      event.add("soft", limits.soft &<< Page.shift)
      event.add("hard", limits.hard &<< Page.shift)
      event.write()
    }
    let words = Watch.words
    guard words.it.limit_function != 0, bellows_exchange32(Watch.limitBusyWord, 1) == 0 else { return }
    bellows_limit_call(
      words.it.limit_function, words.it.limit_context, Int32(truncatingIfNeeded: news), held)
    bellows_store32(Watch.limitBusyWord, 0)
  }
}

@c(bw_limit)
func limit(_ soft: UInt, _ hard: UInt, _ function: UInt, _ context: UInt) -> Int32 {
  guard hard == 0 || soft <= hard else { return invalidArgument }
  guard Process.start() else { return outOfMemory }
  Watch.words.it.limit_function = 0
  Watch.words.it.limit_context = context
  Watch.words.it.limit_function = function
  Limits.set(soft: soft, hard: hard)
  Watch.tellNews()
  return 0
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_limits)
func namesLimits() { bellows_names_limits() }
