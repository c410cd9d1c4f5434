// Control: does what the tool asks of a live process (BELLOWS_CONTROL=1).
//
//     none ──the helper begins──► opening ──the page is there──► running ──the helper ends──► leaving ──► none
//
// The helper keeps the page that is shared with whoever the kernel lets open it (bellows_control.h): its table of
// descriptors is its own, so that the program sees none that it did not open, and may close all that it knows. The
// worker sleeps on a word of that page, does what is asked, and takes nothing in the page for granted. It has the
// program's descriptors, because listeners and callbacks of the program run in it, and opens nothing there; what takes a look
// it has the helper do (Errand.swift). Where the helper finds that it may not open the page, the worker sleeps for ever.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Control {
  private enum State: UInt32 { case none, opening, running, leaving }

  @inline(__always)
  private static var state: UInt32 { bellows_load32(Watch.controlWord) }
  private static func set(_ state: State) {
    bellows_store32(Watch.controlWord, state.rawValue)
    bellows_futex_wake(Watch.controlWord)
  }

  /// Whether requests are served. Not any more once the helper is to end.
  static var isRunning: Bool { state == State.running.rawValue }

  static var isWorker: Bool {
    let worker = bellows_load32(Watch.workerWord)
    return worker != 0 && worker == bellows_thread_id()
  }

  /// How many threads there are for it, beside the helper.
  static var threads: UInt32 { state == State.none.rawValue ? 0 : 1 }

  // MARK: Called by the helper

  static func startWorker() -> Bool {
    bellows_store32(Watch.workerWord, 0)
    set(.opening)
    let isMade = bellows_worker_start()
    if !isMade { set(.none) }
    return isMade
  }

  /// Right after a look.
  static func open() {
    let page = bellows_control_open()
    guard page != 0 else { return }
    Watch.words.it.control_page = UInt64(page)
    set(.running)
    establish(page)
    nameWorker()
  }

  /// It has no call of its own for that: to give itself a name is nothing that malloc needs.
  private static func nameWorker() {
    var tries = 0
    while bellows_load32(Watch.workerWord) == 0, tries < 100 {
      bellows_futex_wait_for(Watch.workerWord, 0, 1)
      tries &+= 1
    }
    guard Helper.look() == .clear else { return }
    let name: StaticString = "bellows-worker"
    bellows_sight_name_task(bellows_load32(Watch.workerWord), UInt(bitPattern: unsafe name.utf8Start))
  }

  /// Has the worker end, and waits for that.
  static func close() {
    guard state == State.opening.rawValue || state == State.running.rawValue else { return }
    let page = UInt(Watch.words.it.control_page)
    set(.leaving)
    while state == State.leaving.rawValue {
      // Each time: the worker may just have begun with a request.
      Client.cancel()
      Errand.serve(isRefusing: true)
      if page != 0 { bellows_futex_wake_shared(bellows_control_state(page)) }
      bellows_futex_wait_for(Watch.controlWord, State.leaving.rawValue, 20)
    }
    if page != 0 { bellows_control_close(page) }
    Watch.words.it.control_page = 0
  }

  /// In the child of a fork there is no thread and no page.
  static func forget() {
    let page = UInt(Watch.words.it.control_page)
    if page != 0 { bellows_control_leave(page) }
    Watch.words.it.control_page = 0
    Client.forget()
    set(.none)
  }

  // MARK: The worker

  static func run() {
    bellows_store32(Watch.workerWord, bellows_thread_id())
    bellows_futex_wake(Watch.workerWord)
    while state == State.opening.rawValue { bellows_futex_wait(Watch.controlWord, State.opening.rawValue) }
    let page = UInt(Watch.words.it.control_page)
    let word = bellows_control_state(page)
    while self.state == State.running.rawValue {
      establish(page)
      let state = bellows_load32(word)
      switch state & 3 {
      case UInt32(BELLOWS_REQUESTED):
        serve(page, state)
        continue
      case UInt32(BELLOWS_TAKEN):
        // Nothing is: somebody wrote it.
        if bellows_compare_exchange32(word, state, state & ~3 | UInt32(BELLOWS_IDLE)) {
          bellows_futex_wake_shared(word)
        }
        continue
      default: break
      }
      if self.state == State.running.rawValue { bellows_futex_wait_shared(word, state, .max) }
    }
    set(.none)
  }

  private static func serve(_ page: UInt, _ state: UInt32) {
    let word = bellows_control_state(page)
    let shared = Ref<bellows_control>(page)
    let idle = state & ~3 | UInt32(BELLOWS_IDLE)
    let taken = state & ~3 | UInt32(BELLOWS_TAKEN)
    func drop(_ state: UInt32) {
      if bellows_compare_exchange32(word, state, idle) { bellows_futex_wake_shared(word) }
    }
    // The process was stopped, say, and whoever asked is gone.
    if bellows_clock_milliseconds() > shared.it.deadline { return drop(state) }
    guard bellows_compare_exchange32(word, state, taken) else { return }
    let isWanted = Client.begin(taken)
    if isWanted {
      shared.it.report = bellows_offline_report()
      shared.it.drain = bellows_drain_report()
      for index in 0..<8 as Range<Int32> { bellows_control_set_result(page, index, 0) }
      shared.it.error = Request(page).perform()
    }
    Client.end()
    if !isWanted { return drop(taken) }
    // Where it is something else by now, that is somebody else's request, or nobody's.
    _ = bellows_compare_exchange32(word, taken, state & ~3 | UInt32(BELLOWS_DONE))
    bellows_futex_wake_shared(word)
    Watch.tellNews()
  }

  /// A request that was taken: a copy, since the page may change at any time.
  struct Request {
    let page: UInt
    private let command: UInt32
    private var arguments: InlineArray<4, UInt>

    init(_ page: UInt) {
      self.page = page
      command = Ref<bellows_control>(page).it.command
      arguments = InlineArray(repeating: 0)
      for index in 0..<4 { arguments[index] = UInt(bellows_control_argument(page, Int32(index))) }
    }

    func argument(_ index: Int) -> UInt { arguments[index] }
    func answer(_ index: Int32, _ value: UInt) { bellows_control_set_result(page, index, UInt64(value)) }

    /// Does what is asked; answers an errno, or 0.
    func perform() -> Int32 {
      switch command {
      case UInt32(BELLOWS_ASK_TRIM): trim()
      case UInt32(BELLOWS_ASK_LIMIT): limit()
      case UInt32(BELLOWS_ASK_OFFLINE): offline()
      case UInt32(BELLOWS_ASK_ONLINE): online()
      case UInt32(BELLOWS_ASK_DRAIN): drain(.off)
      case UInt32(BELLOWS_ASK_HOME): drain(.home)
      default: noSuchCommand
      }
    }

    private func trim() -> Int32 {
      let heap = Process.heap
      let before = Process.arena.returnedPages()
      // Idle threads keep shards: one look to see who is idle, one to take what they have.
      for _ in 0..<2 { _ = Errand.ask(.trimIdle) }
      _ = heap.trim(nil, keep: argument(0) &>> Page.shift)
      let now = heap.statistics()
      answer(0, (Process.arena.returnedPages() &- before) &<< Page.shift)
      answer(1, now.residentFreeBytes)
      Log.notePurges(isUrgent: true)
      return 0
    }

    private func limit() -> Int32 {
      let now = Process.heap.limits
      let soft = argument(0) == .max ? now.soft &<< Page.shift : argument(0)
      let hard = argument(1) == .max ? now.hard &<< Page.shift : argument(1)
      guard hard == 0 || soft <= hard else { return invalidArgument }
      Limits.set(soft: soft, hard: hard)
      let limits = Process.heap.limits
      answer(0, limits.soft &<< Page.shift)
      answer(1, limits.hard &<< Page.shift)
      answer(2, Process.heap.heldPages() &<< Page.shift)
      return 0
    }

    private func offline() -> Int32 {
      let report = bellows_control_report(page)
      let bytes = UInt(bitPattern: MemoryLayout<bellows_offline_report>.size)
      let milliseconds = UInt32(truncatingIfNeeded: min(argument(3), 86_400_000))
      let flags = UInt32(truncatingIfNeeded: argument(2))
      var request = Offline.request(milliseconds, flags, Client.cancelWord)
      request.isUndoneWhenCancelled = true
      return argument(1) == 0
        ? Offline.take(argument(0), request, report, bytes)
        : Offline.take(at: argument(1), request, report, bytes)
    }

    private func drain(_ way: Drain.Way) -> Int32 {
      guard argument(0) < 64 else { return invalidArgument }
      var report = DrainReport()
      let error = Drain.perform(
        way, Int32(truncatingIfNeeded: argument(0)), UInt32(truncatingIfNeeded: min(argument(1), 86_400_000)),
        Client.cancelWord, Drain.Listener(page: page), &report)
      Drain.write(
        report, to: bellows_control_drain(page),
        size: UInt(bitPattern: MemoryLayout<bellows_drain_report>.size))
      return error
    }

    private func online() -> Int32 {
      var came: UInt = 0
      let error =
        argument(1) == 0
        ? Offline.bringBack(argument(0), came: &came) : Offline.bringBack(at: argument(1), came: &came)
      answer(0, came)
      return error
    }
  }
}

/// ENOSYS.
private let noSuchCommand: Int32 = 38

@c(bellows_worker_main)
func workerMain() { Control.run() }
