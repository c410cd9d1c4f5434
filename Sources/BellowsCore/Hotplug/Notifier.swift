// Who is told of an arena's transitions, and may object.
//
// Events of memory and events of nodes are apart, so that most observers need not care about nodes. Observers are
// asked in falling priority, of equals the one that came first. An objection counts for the events that ask
// (`isQuestion`) alone: it ends the chain. What calls a transition off reaches every observer, also those who were
// never asked, so an observer remembers by itself whether it was. (Linux: include/linux/memory.h, mm/memory_hotplug.c.)
//
// Observers run with no lock held: they may allocate. A transition inside of one is EDEADLK.

import CShims

package enum HotplugEvent: UInt32, BitwiseCopyable, Sendable {
  case goingOnline, cancelOnline, online, goingOffline, cancelOffline, offline
  case nodeAddingFirst, nodeCancelAddingFirst, nodeAddedFirst
  case nodeRemovingLast, nodeCancelRemovingLast, nodeRemovedLast

  package var isQuestion: Bool {
    switch self {
    case .goingOnline, .goingOffline, .nodeAddingFirst, .nodeRemovingLast: true
    default: false
    }
  }
}

/// What an observer is handed the address of: the range without the memmap.
package struct HotplugNotice: BitwiseCopyable, Sendable {
  package var event: UInt32
  /// -1: no node in particular.
  package var node: Int32
  package var start: UInt
  package var bytes: UInt
  /// The section's place in the arena.
  package var section: UInt
}

/// What observers answer: 0, or the errno of one, and its place in the order of asking.
package struct Objection: BitwiseCopyable, Sendable {
  package var errno: Int32 = 0
  package var place: UInt = 0
}

/// An observer's record.
@safe
package struct Observer: BitwiseCopyable {
  /// `(context, address of a HotplugNotice)`: 0 goes on; 1 goes on without those behind; -errno objects, -1 being both a
  /// bare no and EPERM.
  package typealias Function = @convention(c) (_ context: UInt, _ notice: UInt) -> Int32

  package var next: UInt
  package var priority: Int
  /// Grows with each that comes: of equals the older one is asked first.
  package var age: UInt
  package var function: Function?
  package var context: UInt
}

package typealias ObserverRef = Ref<Observer>

extension Ref where Pointee == Arena {
  /// Enters an observer, in the record of one that has ended if there is one. ENOMEM. Takes the growth lock; O(observers).
  ///
  /// Records are in no order, and whoever asks copies function and context under the lock: a record that is used again is asked in
  /// its new place, and the old function never sees the new context.
  package func observe(
    priority: Int = 0, context: UInt, _ function: @escaping Observer.Function
  ) throws(Refusal) -> ObserverRef {
    growth.acquire()
    defer { growth.release() }
    var age: UInt = 0
    var free: ObserverRef?
    var next = it.observers
    while next != 0 {
      let known = ObserverRef(next)
      age = max(age, known.it.age)
      if known.it.function == nil { free = known }
      next = known.it.next
    }
    let entry = Observer(
      next: free?.it.next ?? it.observers, priority: priority, age: age &+ 1, function: function,
      context: context)
    if let free {
      free.it = entry
      return free
    }
    guard let room = it.metadata.allocate(UInt(MemoryLayout<Observer>.size), platform: it.platform) else {
      throw .noMemory
    }
    ObserverRef(room).it = entry
    it.observers = room
    return ObserverRef(room)
  }

  /// Ends an observer. A call to it may still be under way in another thread.
  package func endObserving(_ observer: ObserverRef) {
    growth.acquire()
    observer.it.function = nil
    growth.release()
  }

  /// Tells the observers: 0, or the errno of one that objects.
  package func notify(_ event: HotplugEvent, _ section: SectionRef) -> Int32 { ask(event, section).errno }

  /// The same, and the place of who objects in the order of asking, from 1.
  func ask(_ event: HotplugEvent, _ section: SectionRef) -> Objection {
    guard it.observers != 0 else { return Objection() }
    let reserved = UInt(section.it.memmapBlocks) &<< it.geometry.pageblockShift
    var notice = HotplugNotice(
      event: event.rawValue, node: section.it.memory.node, start: section.it.base &+ reserved,
      bytes: UInt(section.it.blocks) &<< it.geometry.pageblockShift &- reserved, section: index(of: section))
    return unsafe withUnsafeMutablePointer(to: &notice) { pointer in
      let address = UInt(bitPattern: UnsafeRawPointer(pointer))
      var place: UInt = 0
      var last: Observer?
      while let observer = observer(after: last), let function = observer.function {
        last = observer
        place = place &+ 1
        let answer = function(observer.context, address)
        if event.isQuestion, answer < 0 { return Objection(errno: 0 &- answer, place: place) }
        if event.isQuestion, answer > 0 { return Objection() }
      }
      return Objection()
    }
  }

  /// Who is to be asked after `last`, as it is now. Takes the growth lock; O(observers).
  private func observer(after last: Observer?) -> Observer? {
    growth.acquire()
    defer { growth.release() }
    var found: Observer?
    var next = it.observers
    while next != 0 {
      let known = ObserverRef(next).it
      next = known.next
      guard known.function != nil, last.map({ isAsked($0, before: known) }) ?? true else { continue }
      if found.map({ isAsked(known, before: $0) }) ?? true { found = known }
    }
    return found
  }

  private func isAsked(_ one: Observer, before other: Observer) -> Bool {
    one.priority == other.priority ? one.age < other.age : one.priority > other.priority
  }
}
