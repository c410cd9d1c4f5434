// The helper thread: returns memory when nobody calls malloc or free to do it on the way.
//
// It starts in a program that has threads already (or where BELLOWS_THREAD=1 asks for it), once the heap is
// large enough to care. It looks twice in a purge delay while there is, sleeps on a word while there is not,
// and has every signal blocked.
//
//     none ──offer───► running ──nothing to do──► parked
//                         ▲────────notice───────────┘

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Helper {
  private enum State: UInt32 { case none, running, parked }

  private static var word: UInt { Process.helperWords }
  /// A heap below this many pages (4 MiB) is not worth a thread.
  private static var leastPages: UInt { 1024 }

  /// 1 once the main thread has ended by pthread_exit.
  private static var mainEndedWord: UInt { Process.helperWords &+ 8 }

  static var mainEnded: Bool { bellows_load32(mainEndedWord) != 0 }

  /// How many threads of this process are Bellows' own.
  static var threads: UInt32 {
    (bellows_load32(word) == State.none.rawValue ? 0 : 1) &+ (Control.isRunning ? 2 : 0)
  }

  private static var settings: Ref<Settings> { Process.settings }

  /// Memory went back to the zone or to a slot: wakes the helper if it sleeps.
  @inline(__always)
  static func notice() {
    if _slowPath(bellows_load32(word) == State.parked.rawValue) { wake() }
  }

  private static func wake() {
    if bellows_exchange32(word, State.running.rawValue) == State.parked.rawValue { bellows_futex_wake(word) }
  }

  /// Starts the helper if it is time for it. From the slow paths of allocation only, never from free: the C library
  /// frees with its lock on thread stacks held, and would wait for itself in pthread_create.
  @inline(__always)
  static func offer() {
    if _slowPath(bellows_load32(word) == State.none.rawValue) { considerStart() }
  }

  private static func considerStart() {
    let mode = settings.it.helper
    guard Process.arena.roughlyHeldPages() >= leastPages, mode != 1,
      mode == 2 || !bellows_is_single_threaded(),
      // A child of vfork runs on the memory of its parent: no thread of its own here.
      UInt(bellows_process_id()) == Process.processID,
      bellows_exchange32(word, State.running.rawValue) == State.none.rawValue
    else { return }
    // Where no thread is to be had, slow paths and malloc_trim go on returning memory.
    _ = bellows_helper_start()
  }

  /// In the child of a fork there is no helper.
  static func forget() { bellows_store32(word, State.none.rawValue) }

  /// The main thread ended and the others go on. The process is to end with the last of them, so the helper has
  /// to look whether it is that.
  static func noticeMainEnded() {
    bellows_store32(mainEndedWord, 1)
    notice()
    Control.noticeMainEnded()
  }

  /// The thread's life.
  static func run() {
    let delay = max(settings.it.purgeDelay, 2)
    while true {
      let mainEnded = Self.mainEnded
      bellows_sleep_milliseconds(mainEnded ? min(delay / 2, 100) : delay / 2)
      if mainEnded, bellows_is_last_thread(threads) {
        forget()
        return
      }
      if !look(), !mainEnded { park() }
    }
  }

  /// Returns what has been free for the purge delay, idle threads' shards included; false if nothing is left to
  /// look at again.
  private static func look() -> Bool {
    // Under a system call filter, what else the look at a thread needs might be the end of the process.
    var isBusy = false
    if !bellows_is_filtered() {
      bellows_barrier_start()
      isBusy = trimIdleThreads()
    }
    // 4096 shards take a few milliseconds; what is left waits for the next look.
    Process.heap.purgeExpired(bellows_clock_milliseconds(), shards: 4096)
    Log.notePurges(isUrgent: false)
    return isBusy || Process.arena.dirtyPages() != 0
  }

  /// Takes what threads keep that did nothing since the last look; whether any is left to look at again.
  @discardableResult
  static func trimIdleThreads() -> Bool {
    Process.heap.trimIdleThreads { heap in
      bellows_barrier()
      return bellows_thread_is_parked(
        heap.it.threadID, heap.it.stack, heap.it.words, heap.lock.word)
    }
  }

  private static func park() {
    bellows_store32(word, State.parked.rawValue)
    // What became dirty before the word changed was not noticed.
    if Process.arena.dirtyPages() != 0 || bellows_load32(mainEndedWord) != 0 {
      bellows_store32(word, State.running.rawValue)
      return
    }
    while bellows_load32(word) == State.parked.rawValue {
      bellows_futex_wait(word, State.parked.rawValue)
    }
  }
}

@c(bellows_helper_main)
func helperMain() { Helper.run() }
