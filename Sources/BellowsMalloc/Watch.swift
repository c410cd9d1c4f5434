// The words that threads of ours, control, limits and the log keep between calls (bellows_process.h: struct bellows_watch).

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Watch {
  static var words: Ref<bellows_watch> { Ref(bellows_watch_address()) }
  @inline(__always)
  private static func place(_ offset: Int) -> UInt { bellows_watch_address() &+ UInt(bitPattern: offset) }
  /// Whether and how the worker is there: a `Control.State`.
  static var controlWord: UInt { place(BELLOWS_WATCH_CONTROL) }
  /// What the helper waits on.
  static var bellWord: UInt { place(BELLOWS_WATCH_BELL) }
  /// The callback of the limits and its context, and the thread that is running it, or 0.
  static var limitFunctionWord: UInt { place(BELLOWS_WATCH_LIMIT_FUNCTION) }
  static var limitContextWord: UInt { place(BELLOWS_WATCH_LIMIT_CONTEXT) }
  static var limitBusyWord: UInt { place(BELLOWS_WATCH_LIMIT_BUSY) }
  /// Whether a thread ended that the helper has not looked for.
  static var threadEndedWord: UInt { place(BELLOWS_WATCH_THREAD_ENDED) }
  /// Whether a helper has ended by itself, and nobody has waited for that.
  static var isUnjoinedWord: UInt { place(BELLOWS_WATCH_IS_UNJOINED) }
  /// How many drains and homecomings are under way.
  static var drainsWord: UInt { place(BELLOWS_WATCH_DRAINS) }
  /// Whether the helper has begun.
  static var hasBegunWord: UInt { place(BELLOWS_WATCH_HAS_BEGUN) }
  /// The worker's number, once it runs.
  static var workerWord: UInt { place(BELLOWS_WATCH_WORKER) }
  static var errand: Ref<bellows_errand> { Ref(place(BELLOWS_WATCH_ERRAND)) }
  static var logPath: UInt { place(BELLOWS_WATCH_LOG_PATH) }

  /// Looks whether there is news to tell: called at the end of slow paths, with no lock held. Two loads where there
  /// is none.
  @inline(__always)
  static func tellNews() {
    let news = Process.heap.takeLimitNews()
    if _slowPath(news != 0) { Limits.tell(news) }
    if _slowPath(words.it.log_kind != 0) { Log.notePurges(isUrgent: false) }
  }
}
