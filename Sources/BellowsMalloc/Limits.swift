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
    let function = bellows_load(Watch.limitFunctionWord)
    guard function != 0, bellows_compare_exchange32(Watch.limitBusyWord, 0, bellows_thread_id()) else {
      return
    }
    let context = bellows_load(Watch.limitContextWord)
    // It may be another one by now, and the context that one's.
    if bellows_load(Watch.limitFunctionWord) == function {
      bellows_limit_call(function, context, Int32(truncatingIfNeeded: news), held)
    }
    bellows_store32(Watch.limitBusyWord, 0)
  }

  /// In the child of a fork: whoever was being told is not there, unless it is the thread that forked.
  static func forget(parent: UInt32) {
    if bellows_load32(Watch.limitBusyWord) != parent { bellows_store32(Watch.limitBusyWord, 0) }
  }
}

@c(bw_limit)
func limit(_ soft: UInt, _ hard: UInt, _ function: UInt, _ context: UInt) -> Int32 {
  guard hard == 0 || soft <= hard else { return invalidArgument }
  guard Process.start() else { return outOfMemory }
  bellows_store(Watch.limitFunctionWord, 0)
  bellows_store(Watch.limitContextWord, context)
  bellows_store_release(Watch.limitFunctionWord, function)
  Limits.set(soft: soft, hard: hard)
  Watch.tellNews()
  return 0
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_limits)
func namesLimits() { bellows_names_limits() }
