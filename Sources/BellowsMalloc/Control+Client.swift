// Who asks the process for something, as the helper sees it, which has the page's descriptor: while a request is under way it looks every 50 ms
// whether the client's lock on the file is still there, whatever became of the client. It sleeps otherwise.
//
// The page may be written by anybody who may open it. What the helper and the worker go by is therefore kept here, and
// what is theirs in the page is written anew each time that one of them looks at it.

import BellowsCoreEmbedded
import CMalloc
import CShims

extension Control {
  enum Client {
    private enum Phase: UInt32 { case none, isAsked, isThere, isGone }

    private static var record: Ref<bellows_client> { Ref(bellows_client_address()) }
    private static var phaseWord: UInt { bellows_client_address() }
    /// What the engine looks at while it works.
    static var cancelWord: UInt { bellows_client_address() &+ 4 }

    // MARK: The worker's

    /// Begins a request that was taken, with the page's word at `state`. False: nobody waits for it.
    static func begin(_ state: UInt32) -> Bool {
      record.it.state = state
      bellows_store32(phaseWord, Phase.isAsked.rawValue)
      Helper.ring()
      let end = bellows_clock_milliseconds() &+ 1000
      while bellows_load32(phaseWord) == Phase.isAsked.rawValue, bellows_clock_milliseconds() < end {
        bellows_futex_wait_for(phaseWord, Phase.isAsked.rawValue, 100)
      }
      // Only now: what it says of the request before comes no later than this answer. Whoever closes says it after this.
      bellows_store32(cancelWord, 0)
      return Control.isRunning && bellows_load32(phaseWord) == Phase.isThere.rawValue
    }

    /// In the child of a fork nobody asked.
    static func forget() {
      end()
      bellows_store32(cancelWord, 0)
    }

    /// Ends it.
    static func end() { bellows_store32(phaseWord, Phase.none.rawValue) }

    /// Has it end, and whatever else comes too.
    static func cancel() { bellows_store32(cancelWord, 1) }

    // MARK: The helper's

    /// Whether a request is under way, and so its client to be looked at every 50 ms.
    static var isWatched: Bool { bellows_load32(phaseWord) != Phase.none.rawValue }

    /// Looks whether the client is still there. `isClear`: whether the thread may make calls that malloc does not need.
    static func look(isClear: Bool) {
      let page = UInt(Watch.words.it.control_page)
      guard page != 0, isWatched else { return }
      // What was not asked when the look began is answered by the next one.
      let isAsked = bellows_load32(phaseWord) == Phase.isAsked.rawValue
      Control.establish(page)
      let isGone = isClear && Helper.look() == .clear && !bellows_client_is_locked(record.it.file)
      if isGone || bellows_load32(bellows_control_cancelled(page)) != 0
        || bellows_load32(bellows_control_state(page)) != record.it.state
      {
        bellows_store32(cancelWord, 1)
      }
      let answer: Phase = isGone ? .isGone : .isThere
      if isAsked, bellows_compare_exchange32(phaseWord, Phase.isAsked.rawValue, answer.rawValue) {
        bellows_futex_wake(phaseWord)
      }
    }
  }

  /// Writes what stands at the head of the page and is the process' own; the magic last, since whoever sees it may ask.
  static func establish(_ page: UInt) {
    let shared = Ref<bellows_control>(page)
    let header = bellows_header_address()
    shared.it.layout = UInt32(BELLOWS_CONTROL_LAYOUT)
    shared.it.process = UInt32(truncatingIfNeeded: Process.processID)
    shared.it.header = UInt64(header)
    shared.it.version = Ref<bellows_header>(header).it.version
    bellows_store_release(page, UInt(BELLOWS_CONTROL_MAGIC))
  }
}
