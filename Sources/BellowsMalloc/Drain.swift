// A NUMA node is emptied of the process heap, and filled again (bellows.h).

import BellowsCoreEmbedded
import CMalloc
import CShims

enum Drain {
  /// Whom a drain tells how far it is: a function of the program's, or the page that is shared with the tool.
  struct Listener: BitwiseCopyable {
    var function: UInt = 0
    var context: UInt = 0
    var page: UInt = 0
  }

  enum Way { case off, home }

  static func perform(
    _ way: Way, _ node: Int32, _ milliseconds: UInt32, _ cancel: UInt, _ listener: Listener,
    _ report: inout DrainReport
  ) -> Int32 {
    isUnderWay = true
    defer {
      isUnderWay = false
      Helper.release()
    }
    guard isClear else { return HotplugErrno.notPermitted }
    var listener = listener
    return unsafe withUnsafeMutablePointer(to: &listener) {
      var request = DrainRequest(
        node: node, deadline: bellows_clock_milliseconds() &+ UInt64(milliseconds), cancelWord: cancel,
        progress: { Drain.tell($0, $1, $2) }, context: UInt(bitPattern: $0))
      request.ownStart = bellows_storage_start()
      request.ownBytes = bellows_storage_end() &- request.ownStart
      for index in 0..<2 {
        let stack = bellows_own_stack(Int32(truncatingIfNeeded: index))
        request.stacks[index] = (stack.start, stack.bytes)
      }
      let error =
        way == .off
        ? Process.heap.drain(request, &report, Offline.client)
        : Process.heap.bringHome(request, &report, Offline.client)
      Log.note(report, error, way == .off ? "drain" : "home", node)
      return error
    }
  }

  /// Whether one is, in whatever thread.
  private(set) static var isUnderWay: Bool {
    get { bellows_load32(Watch.drainsWord) != 0 }
    set {
      while case let now = bellows_load32(Watch.drainsWord),
        !bellows_compare_exchange32(Watch.drainsWord, now, newValue ? now &+ 1 : max(now, 1) &- 1)
      {}
    }
  }

  /// In the child of a fork none is.
  static func forget() { bellows_store32(Watch.drainsWord, 0) }

  /// A filter may end the process for a system call that it does not know: the helper looks whether this thread has one. It may just
  /// be about to go, and then another one comes.
  private static var isClear: Bool {
    for _ in 0..<3 {
      Helper.summon()
      if Errand.ask(.isClear, thread: bellows_thread_id()) { return true }
      if Helper.isThere { return false }
    }
    return false
  }

  private static func tell(_ context: UInt, _ done: UInt, _ total: UInt) -> Int32 {
    let listener = Ref<Listener>(context).it
    if listener.page != 0 {
      bellows_control_set_result(listener.page, 0, UInt64(done &<< Page.shift))
      bellows_control_set_result(listener.page, 1, UInt64(total &<< Page.shift))
    }
    return listener.function == 0
      ? 0 : bellows_drain_tell(listener.function, listener.context, done &<< Page.shift, total &<< Page.shift)
  }

  /// Writes the first `size` bytes of what `report` is in C to `target`.
  static func write(_ report: DrainReport, to target: UInt, size: UInt) {
    guard target != 0 else { return }
    func bytes(_ pages: UInt) -> Int { Int(bitPattern: pages &<< Page.shift) }
    var result = bellows_drain_report(
      found: bytes(report.found), room: bytes(report.room), moved: bytes(report.moved),
      returned: bytes(report.returned), left: bytes(report.left), busy: bytes(report.busy),
      locked: bytes(report.locked), shared: bytes(report.shared), no_room: bytes(report.refused),
      not_reached: bytes(report.notReached), other: bytes(report.other),
      first_left: report.firstLeft, sections: UInt32(truncatingIfNeeded: report.sections),
      passes: UInt32(truncatingIfNeeded: report.passes))
    unsafe withUnsafeMutablePointer(to: &result) {
      bellows_copy(
        target, UInt(bitPattern: $0), min(size, UInt(bitPattern: MemoryLayout<bellows_drain_report>.size)))
    }
  }

  static func call(
    _ way: Way, _ node: Int32, _ milliseconds: UInt32, _ cancel: UInt, _ function: UInt, _ context: UInt,
    _ out: UInt, _ size: UInt
  ) -> Int32 {
    guard Process.isReady else { return noSystem }
    var report = DrainReport()
    let error = perform(
      way, node, milliseconds, cancel, Listener(function: function, context: context), &report)
    write(report, to: out, size: size)
    return error
  }
}

/// ENOSYS.
private let noSystem: Int32 = 38

@c(bw_drain_node)
func drainNode(
  _ node: Int32, _ milliseconds: UInt32, _ cancel: UInt, _ function: UInt, _ context: UInt, _ out: UInt,
  _ size: UInt
) -> Int32 { Drain.call(.off, node, milliseconds, cancel, function, context, out, size) }

@c(bw_bring_home)
func bringHome(
  _ node: Int32, _ milliseconds: UInt32, _ cancel: UInt, _ function: UInt, _ context: UInt, _ out: UInt,
  _ size: UInt
) -> Int32 { Drain.call(.home, node, milliseconds, cancel, function, context, out, size) }

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_drain)
func namesDrain() { bellows_names_drain() }
