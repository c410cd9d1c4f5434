// The helper thread: returns memory when nobody calls malloc or free to do it on the way, and does for the others what takes
// a look at the system.
//
// It starts with the first thread that the program makes: who has just been made proves that threads can be made, which
// no later moment does (a filter may have come). It is there for the log and with BELLOWS_THREAD=1 from the start, with
// control from 4 MiB of heap. It has a table of descriptors of its own (bellows_sight_open), and every signal blocked.
// While there is something to give back it looks twice in a purge delay. It ends with the last of the program's threads but
// the first, and when the main thread's rights are not its own any more. Where the main thread ends by
// pthread_exit the helper goes first: who ends last runs the program's exit handlers, and needs its descriptors.
//
//     none ───────born────► running ──nothing to do──► parked
//       ▲                      │  ▲──────notice, ring────┘
//       ├──────── alone ───────┤
//     retired ◄─ other rights ─┤                  from there only by a birth, or on request
//     leaving ◄─ main ended ───┘                  for good
//
// In a program that may put filters in force and asked for nothing that takes a look, it has no table and never looks
// (bellows_may_filter): what it knows is that memory is free. It is dismissed then by the last of the others, which proves that threads
// can end.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Helper {
  private enum State: UInt32 { case none, retired, gone, running, parked, dismissed, ending, leaving }
  /// What it knows of its standing (bellows_process.h).
  enum Sight: UInt32 { case clear, blind, filtered, differs }

  @inline(__always)
  private static var word: UInt { Process.helperWord }
  /// With control it comes to a heap of this many pages (4 MiB), with all that is to come with it.
  private static var leastPages: UInt { 1024 }

  static var isThere: Bool { bellows_load32(word) >= State.running.rawValue }

  private static var settings: Ref<Settings> { Process.settings }

  // MARK: Called by the program's threads

  /// Memory went back to the zone or to a slot: wakes the helper if it sleeps.
  @inline(__always)
  static func notice() {
    if _slowPath(bellows_load32(word) == State.parked.rawValue) { wake() }
  }

  private static func wake() {
    if change(.parked, to: .running) { ring() }
  }

  @discardableResult
  private static func change(_ before: State, to after: State) -> Bool {
    bellows_compare_exchange32(word, before.rawValue, after.rawValue)
  }

  /// Makes it look what there is to do, now.
  static func ring() {
    while case let bell = bellows_load32(Watch.bellWord),
      !bellows_compare_exchange32(Watch.bellWord, bell, bell &+ 1)
    {}
    bellows_futex_wake(Watch.bellWord)
  }

  /// Starts the helper if it is time for it. From the slow paths of allocation only, never from free: the C library
  /// frees with its lock on thread stacks held, and would wait for itself in pthread_create.
  @inline(__always)
  static func offer() {
    if _slowPath(!isThere) { considerStart() }
  }

  private static func considerStart() {
    guard let own = Process.ownHeap else { return }
    let isBorn = own.it.isNewborn
    own.it.isNewborn = false
    guard settings.it.helper != 1, bellows_load32(word) != State.gone.rawValue else { return }
    if isBorn, UInt(own.it.threadID) != Process.processID, !bellows_is_single_threaded() {
      // What was not asked for is not worth a look that may be the end of the process.
      let isBlind = !settings.it.hasControl && !Log.isOn && bellows_may_filter()
      // To ask which process this is, is such a look.
      start(process: isBlind ? 0 : UInt32(truncatingIfNeeded: Process.processID), isBlind: isBlind)
    } else if bellows_load32(word) == State.retired.rawValue || bellows_saw_filter() {
      return
    } else if settings.it.hasControl, Process.arena.roughlyHeldPages() >= leastPages {
      start(process: UInt32(truncatingIfNeeded: Process.processID))
    } else if Log.isOn, isBorn {
      // The child of a fork.
      start(process: UInt32(truncatingIfNeeded: Process.processID))
    }
  }

  /// Starts it where it is asked for from the start.
  static func startEarly() {
    guard settings.it.helper == 2 || Log.isOn, settings.it.helper != 1, !bellows_saw_filter() else { return }
    start(process: UInt32(truncatingIfNeeded: Process.processID))
    if Log.isOn, !bellows_log_was_opened() {
      Log.drop(": there is no thread for it, or Linux is older than 5.9")
    } else if Log.isOn, Watch.words.it.log_kind == 2, !bellows_log_is_open() {
      // A number says nothing: what a program passes on to others may be closed there.
      Log.drop(": it cannot be opened, or is a symbolic link")
    }
  }

  /// Starts it for a request that needs it.
  static func summon() {
    guard !isThere, settings.it.helper != 1, !bellows_saw_filter() else { return }
    start(process: UInt32(truncatingIfNeeded: Process.processID))
  }

  /// The request has been served: it goes, where the program has no other threads.
  static func release() {
    if isThere, Watch.words.it.is_blind == 0, bellows_exchange32(Watch.threadEndedWord, 1) == 0 { ring() }
  }

  /// Where no thread is to be had, slow paths and malloc_trim go on returning memory.
  ///
  /// It waits until the helper has begun: that takes calls which a filter of the program's, next, may forbid.
  private static func start(process: UInt32, isBlind: Bool = false) {
    let before = bellows_load32(word)
    // Where no thread was to be had, there may be one later, but not at each slow call.
    let failed = Watch.words.it.helper_failed
    if failed != 0, bellows_clock_milliseconds() &- failed < 1000 { return }
    guard before < State.gone.rawValue, bellows_compare_exchange32(word, before, State.running.rawValue)
    else { return }
    join()
    Watch.words.it.is_blind = isBlind ? 1 : 0
    bellows_store32(Watch.hasBegunWord, 0)
    guard bellows_helper_start(process) else {
      Watch.words.it.helper_failed = bellows_clock_milliseconds()
      // Unless the main thread has ended meanwhile, and waits.
      if !bellows_compare_exchange32(word, State.running.rawValue, before), change(.leaving, to: .gone) {
        bellows_futex_wake(word)
      }
      return
    }
    waitWhile(Watch.hasBegunWord, is: 0, milliseconds: 5000)
  }

  /// In the child of a fork there is no helper.
  static func forget() {
    if bellows_load32(word) != State.retired.rawValue { bellows_store32(word, State.none.rawValue) }
    bellows_store32(Watch.threadEndedWord, 0)
    bellows_store32(Watch.isUnjoinedWord, 0)
    Process.ownHeap?.it.isNewborn = true
    Errand.forget()
    Control.forget()
    bellows_log_forget()
  }

  /// A thread of the program ends. With the last one the helper goes too.
  static func noticeThreadEnded() {
    guard isThere else { return }
    if Watch.words.it.is_blind != 0 {
      if !Process.heap.isUsed(besides: UInt32(truncatingIfNeeded: Process.processID)) { dismiss() }
    } else if bellows_exchange32(Watch.threadEndedWord, 1) == 0 {
      ring()
    }
  }

  private static func dismiss() {
    guard change(.running, to: .dismissed) || change(.parked, to: .dismissed) else { return }
    ring()
    // It is held up, and stays; or it ends, and nobody else waits for it.
    waitWhile(word, is: State.dismissed.rawValue, milliseconds: 1000)
    if change(.dismissed, to: .running) { return }
    bellows_helper_join()
    if !change(.ending, to: .none) { bellows_store32(word, State.gone.rawValue) }
  }

  /// The main thread ends and the others go on. It waits for the helper's end, which takes no other calls than its own.
  static func noticeMainEnded() {
    let before = bellows_exchange32(word, State.leaving.rawValue)
    guard before >= State.running.rawValue else {
      join()
      return bellows_store32(word, State.gone.rawValue)
    }
    ring()
    // Whoever dismisses it waits for it, too.
    let isDismissed = before == State.dismissed.rawValue || before == State.ending.rawValue
    if waitWhile(word, is: State.leaving.rawValue, milliseconds: 1000), !isDismissed { bellows_helper_join() }
  }

  /// Waits for one that has ended by itself: it may be about its last steps.
  private static func join() {
    if bellows_exchange32(Watch.isUnjoinedWord, 0) != 0 { bellows_helper_join() }
  }

  /// Whether a word became something else within that time.
  @discardableResult
  private static func waitWhile(_ word: UInt, is value: UInt32, milliseconds: UInt64) -> Bool {
    let end = bellows_clock_milliseconds() &+ milliseconds
    while bellows_load32(word) == value {
      guard bellows_clock_milliseconds() < end else { return false }
      bellows_futex_wait_for(word, value, 100)
    }
    return true
  }

  // MARK: The thread's life

  /// Whether it is to stay when it is alone with the main thread.
  private static var isToStay: Bool {
    settings.it.helper == 2 || Log.isOn
      || settings.it.hasControl && Process.arena.roughlyHeldPages() >= leastPages
  }

  static func run() {
    // Before the table of descriptors is another one: callbacks of the program run in the worker.
    // To make a thread takes memory; a heap of the helper's own would be in the way of each section that goes offline.
    if settings.it.hasControl, let common = Process.heap.commonHeap() {
      bellows_thread_set(bellows_empty_heap(), common.address)
    }
    let hasWorker = settings.it.hasControl && Control.startWorker()
    let seen = begin()
    if hasWorker, seen == .clear { Control.open() }
    bellows_store32(Watch.hasBegunWord, 1)
    bellows_futex_wake(Watch.hasBegunWord)
    var clock = Clock()
    while true {
      let bell = bellows_load32(Watch.bellWord)
      let sight = settledLook()
      if bellows_load32(word) == State.leaving.rawValue || change(.dismissed, to: .ending) {
        return leaveAsTold()
      }
      if sight == .differs || sight == .clear && clock.isTimeToEnd() {
        if leave(sight) { return }
        continue
      }
      if sight != .clear { clock.countNoThreads() }
      Errand.serve()
      Control.Client.look(isClear: sight == .clear)
      Log.writeWaiting()
      clock.purge()
      let pause = clock.pause()
      // What became dirty before the word changed was not noticed.
      if pause.isParked, Process.arena.dirtyPages() != 0 {
        change(.parked, to: .running)
      } else if pause.milliseconds == .max {
        bellows_futex_wait(Watch.bellWord, bell)
      } else {
        bellows_futex_wait_for(Watch.bellWord, bell, pause.milliseconds)
      }
    }
  }

  /// A filter that was inherited may know none of the calls, nor may one that the program put in force before it made threads.
  private static func begin() -> Sight {
    bellows_log_leave()
    guard !bellows_saw_filter(), Watch.words.it.is_blind == 0 else {
      bellows_sight_close()
      return .blind
    }
    let name: StaticString = settings.it.hasControl ? "bellows-control" : "bellows"
    let seen = bellows_sight_open(
      Log.descriptorToKeep, UInt(bitPattern: unsafe name.utf8Start), settings.it.hasControl || Log.isOn)
    let sight = Sight(rawValue: seen) ?? .blind
    if sight == .clear {
      Log.openAgain()
      // A file that an offline looks into, in whatever thread: read once, and here.
      _ = Process.arena.it.platform.perform(.chargesOpen, 0, 0)
    }
    return sight
  }

  /// Each time right before a call that malloc does not need.
  static func look() -> Sight { Sight(rawValue: bellows_sight_look()) ?? .blind }

  /// What the thread has still to do, and when.
  private struct Clock {
    private let delay = max(Process.settings.it.purgeDelay, 2)
    private var nextPurge: UInt64 = 0
    private var isBusy = false
    /// How often it has looked since a thread ended.
    private var looks: UInt64 = 0

    /// Whether the others have ended. A thread is still counted a little after it has let go of its heap.
    mutating func isTimeToEnd() -> Bool {
      if bellows_exchange32(Watch.threadEndedWord, 0) != 0, looks == 0 { looks = 1 }
      guard looks != 0 else { return false }
      let isAlone = bellows_sight_threads() <= 2 &+ Control.threads
      looks &+= 1
      let isOver = looks > 12
      if isOver { looks = 0 }
      guard isAlone, !Helper.isToStay, !Drain.isUnderWay, looks > 8 || Process.arena.dirtyPages() == 0 else {
        return false
      }
      if delay <= 1000 { _ = Process.heap.trim(nil, keep: 0) }
      return true
    }

    /// It cannot, any more.
    mutating func countNoThreads() { looks = 0 }

    /// Returns what has been free for the purge delay, idle threads' shards included, if it is time for that.
    mutating func purge() {
      let now = bellows_clock_milliseconds()
      guard nextPurge != 0, now >= nextPurge else { return }
      isBusy = Helper.trimIdleThreads()
      // 4096 shards take a few milliseconds; what is left waits for the next look.
      Process.heap.purgeExpired(now, shards: 4096)
      Log.notePurges(isUrgent: false)
      nextPurge = 0
    }

    /// How long to wait now.
    mutating func pause() -> (milliseconds: UInt64, isParked: Bool) {
      let isParked = !isBusy && Process.arena.dirtyPages() == 0
      var pause: UInt64 = .max
      if isParked {
        change(.running, to: .parked)
        nextPurge = 0
      } else {
        let now = bellows_clock_milliseconds()
        if nextPurge == 0 { nextPurge = now &+ delay / 2 }
        pause = nextPurge > now ? nextPurge &- now : 1
      }
      // 5, 10, ... 5120 ms: ten seconds in all.
      if looks != 0 { pause = min(pause, 5 &<< (looks &- 2)) }
      // A right that the main thread gives up is to be given up here, too.
      if bellows_sight_has_capability() { pause = min(pause, 250) }
      if Control.Client.isWatched { pause = min(pause, 50) }
      return (pause, isParked)
    }
  }

  /// Ends, and with it the worker; a thread that comes starts another one. False: the main thread ended meanwhile.
  private static func leave(_ sight: Sight) -> Bool {
    Log.writeWaiting()
    Control.close()
    let after: State = sight == .differs ? .retired : .none
    bellows_store32(Watch.isUnjoinedWord, 1)
    if change(.running, to: after) || change(.parked, to: after) { return true }
    bellows_store32(Watch.isUnjoinedWord, 0)
    return false
  }

  private static func leaveAsTold() {
    Log.writeWaiting()
    Control.close()
    change(.leaving, to: .gone)
    bellows_futex_wake(word)
  }

  /// Where the program calls setuid, the C library has the main thread follow last.
  private static func settledLook() -> Sight {
    var tries = 0
    while true {
      let sight = look()
      guard sight == .differs, tries < 5 else { return sight }
      bellows_sleep_milliseconds(10)
      tries &+= 1
    }
  }

  // MARK: Other threads, after a look

  /// To register takes some 15 ms in a process with several threads, the barrier itself an interrupt on each processor. What comes
  /// after either takes a look of its own.
  static func passBarrier() -> Bool {
    bellows_barrier_start()
    return look() == .clear && bellows_barrier()
  }

  static func isParked(_ thread: UInt32, _ stack: UInt, _ words: UInt, _ lock: UInt) -> Bool {
    passBarrier()
      && bellows_thread_is_parked(
        UInt32(truncatingIfNeeded: Process.processID), thread, stack, words, lock)
  }

  /// Takes what threads keep that did nothing since the last look; whether any is left to look at again.
  static func trimIdleThreads() -> Bool {
    // Under a system call filter, what the look at a thread needs might be the end of the process.
    // Who has just slept is not likely to lose its processor between a look and what follows.
    bellows_sleep_milliseconds(1)
    guard look() == .clear else { return false }
    Process.arena.lookForNodes()
    return Process.heap.trimIdleThreads { heap in
      look() == .clear && isParked(heap.it.threadID, heap.it.stack, heap.it.words, heap.lock.word)
    }
  }
}

@c(bellows_helper_main)
func helperMain() { Helper.run() }
