// The words that control, limits and the log keep between calls (bellows_process.h: struct bellows_watch).

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Watch {
  static var words: Ref<bellows_watch> { Ref(bellows_watch_address()) }
  /// Whether and how a control thread is there: a `Control.State`.
  static var controlWord: UInt { bellows_watch_address() }
  /// How far the holder of the shared page is: a `Control.Holder`.
  static var holderWord: UInt { bellows_watch_address() &+ 4 }
  /// Whether the callback of the limits is running.
  static var limitBusyWord: UInt { bellows_watch_address() &+ 32 }

  /// Looks whether there is news to tell: called at the end of slow paths, with no lock held. Two loads where there
  /// is none.
  @inline(__always)
  static func tellNews() {
    let news = Process.heap.takeLimitNews()
    if _slowPath(news != 0) { Limits.tell(news) }
    if _slowPath(words.it.log_kind != 0) { Log.notePurges(isUrgent: false) }
  }
}
