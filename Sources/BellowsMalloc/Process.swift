// The process heap: one arena, one zone, one heap, in static storage. This file is the only one that knows
// where they are; everything else is handed them.
//
// Set-up happens at the first miss, which is the first malloc: it comes from the dynamic loader, before any
// constructor, so set-up allocates nothing and needs nothing but system calls.

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Process {
  /// Whether the process heap is there.
  enum Status: UInt {
    case untouched, settingUp, ready
    /// This system is not one that Bellows runs on: glibc's malloc serves.
    case steppedAside
  }

  // One behind the other, so that as few pages as can be are resident. The heap comes last: the lists behind its head are
  // seldom used.
  private static var state: UInt { bellows_process_state() }
  @inline(__always)
  private static func bytes<T>(of type: T.Type) -> UInt {
    UInt(bitPattern: MemoryLayout<T>.size).rounded(upTo: 64)
  }
  static var arena: ArenaRef { ArenaRef(state) }
  static var zone: ZoneRef { ZoneRef(arena.address &+ bytes(of: Arena.self)) }
  static var settings: Ref<Settings> { Ref<Settings>(zone.address &+ bytes(of: Zone.self)) }
  private static var statusWord: UInt { settings.address &+ bytes(of: Settings.self) }
  private static var processWord: UInt { statusWord &+ 8 }
  /// The helper's state.
  static var helperWord: UInt { statusWord &+ 16 }
  static var heap: HeapRef { HeapRef(statusWord &+ 64) }
  /// The table of listeners (Offline.swift).
  static var listeners: UInt { heap.address &+ Heap.bytes }
  /// What `bellows_process_state` must have room for.
  private static var stateBytes: UInt {
    listeners &+ UInt(BELLOWS_LISTENERS * BELLOWS_LISTENER_BYTES) &- state
  }

  /// The process that set the heap up, or the child that inherited it.
  private(set) static var processID: UInt {
    get { bellows_load(processWord) }
    set { bellows_store(processWord, newValue) }
  }

  static var status: Status { Status(rawValue: bellows_load_acquire(statusWord)) ?? .untouched }

  @inline(__always)
  static var isReady: Bool { bellows_load_acquire(statusWord) == Status.ready.rawValue }

  /// Sets the process heap up unless that has been done; false where this system has no memory for it or
  /// it steps aside.
  @inline(never)
  static func start() -> Bool {
    while true {
      switch status {
      case .ready: return true
      case .steppedAside: return false
      case .settingUp: bellows_pause()
      case .untouched:
        if bellows_compare_exchange(statusWord, Status.untouched.rawValue, Status.settingUp.rawValue) {
          bellows_store_release(statusWord, setUp().rawValue)
        }
      }
      if status == .untouched { return false }
    }
  }

  private static func setUp() -> Status {
    precondition(stateBytes <= UInt(BELLOWS_STATE_BYTES))
    settings.it.read()
    if bellows_page_size() != Page.bytes || settings.it.isOff {
      if !settings.it.isOff { announceStepAside() }
      return .steppedAside
    }
    guard arena.initialise(geometry: .standard, platform: platform, zone: zone, capacity: 0) else {
      return .untouched
    }
    // One or two system calls; with one node that is the end of it.
    arena.spread(over: Platform.system.localNodes & ~UInt64(Arena.spreadBit))
    if arena.isSpread { arena.learnDistances() }
    heap.initialise(
      arena: arena, isChecking: settings.it.isChecking, purgeDelay: settings.it.purgeDelay)
    processID = UInt(bellows_process_id())
    bellows_fork_watch_start()
    bellows_glibc_start()
    _ = bellows_thread_watch_start()
    let now = settings.it
    if now.softLimit != 0 || now.hardLimit != 0 { Limits.set(soft: now.softLimit, hard: now.hardLimit) }
    bellows_hot_set(arena.it.table.base, arena.it.table.limit)
    fillHeader()
    return .ready
  }

  /// The system, but for what a thread that allocates may not ask of it.
  ///
  /// Where a filter may be in force, nobody asks for the thread's policy, and new memory has none: it comes from the node of who touches it
  /// first, as it does by itself, unless somebody drains a node. Files that the worker of control would open in the program's table, the
  /// helper reads for it.
  private static var platform: Platform {
    Platform(context: 0) { context, call, a, b, c, d in
      if call == SystemCall.bind.rawValue || call == SystemCall.currentNode.rawValue, bellows_may_filter(),
        Process.arena.avoided == 0, !Drain.isUnderWay
      {
        return call == SystemCall.bind.rawValue ? 0 : bellows_current_node()
      }
      if call == SystemCall.nodeRoom.rawValue, Control.isWorker {
        return Errand.nodeRoom(UInt32(truncatingIfNeeded: a))
      }
      let isAnew = call == SystemCall.distances.rawValue && d != 0 && Control.isWorker
      return bellows_system(context, call, a, b, c, isAnew ? 0 : d)
    }
  }

  /// Tells readers in other processes where the records are (bellows_header.h).
  private static func fillHeader() {
    let header = Ref<bellows_header>(bellows_header_address())
    func bytes<T>(_ type: T.Type) -> UInt32 { UInt32(truncatingIfNeeded: MemoryLayout<T>.size) }
    header.it.arena_bytes = bytes(Arena.self)
    header.it.zone_bytes = bytes(Zone.self)
    header.it.heap_bytes = bytes(Heap.self)
    header.it.thread_heap_bytes = bytes(ThreadHeap.self)
    header.it.section_bytes = bytes(Section.self)
    header.it.pageblock_bytes = bytes(Pageblock.self)
    header.it.zone = UInt64(zone.address)
    header.it.heap = UInt64(heap.address)
    header.it.status = UInt64(statusWord)
    header.it.arena = UInt64(arena.address)
  }

  private static func announceStepAside() {
    var line = Line()
    line.append("bellows: pages of this system are not 4 KiB; the system's malloc serves instead")
    line.write()
  }

  /// In the child of a fork: the thread that forked is the main thread here, with another number.
  static func inherit() {
    processID = UInt(bellows_thread_id())
    if let own = ownHeap { own.it.threadID = bellows_thread_id() }
  }

  // MARK: The calling thread

  /// The calling thread's heap, made if it has none; nil where there is no memory or Bellows has stepped
  /// aside.
  static func threadHeap() -> ThreadHeapRef? {
    let mine = bellows_thread_mine()
    if _fastPath(mine != 0) {
      let own = ThreadHeapRef(mine)
      if bellows_thread_hot() != mine { reinstall(own) }
      return own
    }
    guard start(), let made = heap.attachThread() else { return nil }
    // The thread's words first: pthread_setspecific may allocate.
    bellows_thread_set(heap.it.isChecking ? bellows_empty_heap() : made.address, made.address)
    if bellows_thread_watch(made.address), !heap.it.isChecking {
      made.lock.acquire()
      made.it.stack = bellows_stack_address()
      made.it.words = bellows_thread_words()
      made.lock.release()
    }
    return made
  }

  /// Puts the thread's heap back in its hot word after the helper took it. Who takes it has the lock.
  @inline(never)
  private static func reinstall(_ own: ThreadHeapRef) {
    guard own.it.words != 0 else { return }
    own.lock.acquire()
    heap.acknowledgeLocked(own)
    bellows_thread_set(own.address, own.address)
    own.lock.release()
  }

  /// The calling thread's heap, made if it has none; nil for a thread that has ended. For free, which may be all that
  /// the thread does: without a heap it would have to let go of a shard at each block.
  @inline(__always)
  static var ownHeapToFree: ThreadHeapRef? {
    if bellows_thread_mine() == 0 {
      let made = threadHeap()
      // No thread is started from free.
      made?.it.isNewborn = false
      return made
    }
    guard let own = ownHeap else { return nil }
    if _slowPath(bellows_thread_hot() != own.address) { reinstall(own) }
    return own
  }

  /// The calling thread's heap, or nil if it has none of its own.
  static var ownHeap: ThreadHeapRef? {
    let mine = bellows_thread_mine()
    return mine == 0 || mine == heap.it.commons ? nil : ThreadHeapRef(mine)
  }
}

/// The thread ends: whatever it frees from now on is freed for others.
@c(bellows_thread_ended)
func threadEnded(_ heap: UInt) {
  guard bellows_thread_mine() == heap else { return }
  let own = ThreadHeapRef(heap)
  // Other destructors may still allocate; what they get would never be torn down again, so they get it from
  // the heap that all ended threads share.
  let common = Process.heap.commonHeap()?.address ?? 0
  own.lock.acquire()
  own.it.words = 0
  bellows_thread_set(bellows_empty_heap(), common)
  own.lock.release()
  let isMain = UInt(own.it.threadID) == Process.processID
  Process.heap.detachThread(own)
  if isMain { Helper.noticeMainEnded() } else { Helper.noticeThreadEnded() }
}

/// The .so is loaded and the environment is there.
@c(bellows_started)
func started() {
  guard Process.start() else { return }
  Process.settings.it.report()
  if Process.settings.it.statistics != .none { bellows_at_exit() }
  // Now a look is no surprise to anybody.
  _ = bellows_is_filtered()
  Process.settings.it.dropWhatTakesThreads()
  if Log.isOn { bellows_log_at_exit() }
  Helper.startEarly()
}

@c(bellows_keeps_deep_binding)
func keepsDeepBinding() -> Bool {
  _ = Process.start()
  return Process.status == .steppedAside || Process.settings.it.keepsDeepBinding
}

/// The program ends and wants to know (BELLOWS_STATISTICS).
@c(bellows_ended)
func ended() { if Process.settings.it.statistics == .json { jsonStatistics() } else { mallocStats() } }

@c(bellows_fork_prepare)
func forkPrepare() { if Process.isReady { Process.heap.lockForFork() } }

@c(bellows_fork_parent)
func forkParent() { if Process.isReady { Process.heap.unlockAfterFork() } }

@c(bellows_fork_child)
func forkChild() {
  guard Process.isReady else { return }
  let parent = Process.ownHeap?.it.threadID ?? 0
  Process.inherit()
  Process.heap.adoptAfterFork(Process.ownHeap, parent: parent)
  Helper.forget()
  Limits.forget(parent: parent)
  Drain.forget()
  bellows_glibc_forget(parent)
}
