import BellowsCore
import Synchronization

/// What happens to a section, or to the memory of a node.
public enum HotplugEvent: UInt32, Hashable, Sendable, Codable {
  /// A question: an observer may object.
  case goingOnline
  /// It does not come; told to all, also to those who were never asked.
  case cancelOnline
  /// Its pages can be allocated.
  case online
  /// A question. Nothing is allocated in the section any more.
  case goingOffline
  /// It stays.
  case cancelOffline
  /// Its pages have gone.
  case offline
  /// A question: the first memory of a node is about to come.
  case nodeAddingFirst
  /// It does not come.
  case nodeCancelAddingFirst
  /// The node has memory now.
  case nodeAddedFirst
  /// A question: the last memory of a node is about to go.
  case nodeRemovingLast
  /// It stays.
  case nodeCancelRemovingLast
  /// The node has no memory any more.
  case nodeRemovedLast

  /// Whether an observer may object.
  public var isQuestion: Bool { BellowsCore.HotplugEvent(rawValue: rawValue)?.isQuestion ?? false }
}

/// What an observer is told.
public struct HotplugNotice: Hashable, Sendable, Codable {
  /// Counts what this observer was told, from 0: a gap in ``HotplugEvents`` says how much was dropped.
  public var number: Int
  /// What happens.
  public var event: HotplugEvent
  /// The node; nil: none in particular.
  public var node: Int?
  /// The section's addresses behind its descriptors.
  public var addressRange: AddressRange
  /// The section's place.
  public var section: SectionIndex
}

/// An observer of an arena's transitions, until this is let go of or told to end.
public final class HotplugObservation: Sendable {
  private let arena: Arena
  private let box: HotplugObserverBox
  private let observer: Mutex<ObserverRef?>

  init(_ arena: Arena, _ box: HotplugObserverBox, _ observer: ObserverRef) {
    self.arena = arena
    self.box = box
    self.observer = Mutex(observer)
  }

  deinit { end() }

  /// Ends it: no call begins any more. One that is under way in another thread goes on.
  public func end() {
    let ended = observer.withLock { observer in
      defer { observer = nil }
      return observer
    }
    guard let ended else { return }
    arena.core.endObserving(ended)
    arena.guests.leave(box)
  }
}

/// What the engine knows an observer by.
final class HotplugObserverBox: Sendable {
  typealias Body = @Sendable (HotplugNotice) throws(HotplugError) -> Void

  private let body: Body
  private let told = Atomic(0)

  init(_ body: @escaping Body) { self.body = body }

  /// 0, or what the engine takes for an objection.
  fileprivate func tell(_ core: BellowsCore.HotplugNotice) -> Int32 {
    guard let event = HotplugEvent(rawValue: core.event) else { return 0 }
    let number = told.wrappingAdd(1, ordering: .relaxed).oldValue
    let notice = HotplugNotice(
      number: number, event: event, node: core.node < 0 ? nil : Int(core.node),
      addressRange: AddressRange(start: core.start, byteCount: .bytes(Int(core.bytes))),
      section: SectionIndex(rawValue: Int(core.section)))
    do throws(HotplugError) { try body(notice) } catch { return -max(error.errno, 1) }
    return 0
  }

  fileprivate func join(_ arena: ArenaRef, _ guests: ArenaGuests, _ priority: Int) throws(Refusal)
    -> ObserverRef
  {
    let number = guests.enter(self, staysUntilTold: true)
    return try arena.observe(priority: priority, context: number) { number, notice in
      guard let box = ArenaGuests.object(number, as: HotplugObserverBox.self) else { return 0 }
      return box.tell(Ref<BellowsCore.HotplugNotice>(notice).it)
    }
  }
}

extension Arena {
  /// Has a function told of each section that comes or goes, before and after; it may object to what is a question.
  ///
  /// Observers are told in falling priority, of equals the older first; what one throws at a question reaches the
  /// caller of the transition, and what was called off reaches all. They run in the thread of the transition, with no
  /// lock held: they may allocate. A transition from inside of one is EDEADLK.
  ///
  /// - Parameters:
  ///   - priority: Higher ones are told first.
  ///   - body: What is told. The arena keeps it until the observation ends, so it should not keep the arena.
  /// - Returns: The observation: it ends when it is let go of.
  /// - Throws: ENOMEM.
  /// - Complexity: O(observers).
  public func observe(
    priority: Int = 0, _ body: @escaping @Sendable (HotplugNotice) throws(HotplugError) -> Void
  ) throws(HotplugError) -> HotplugObservation {
    let box = HotplugObserverBox(body)
    do throws(Refusal) {
      return HotplugObservation(self, box, try box.join(core, guests, priority))
    } catch {
      guests.leave(box)
      throw HotplugError(error)
    }
  }

  /// What happens to the arena's sections, as a sequence: it is told last and cannot object.
  ///
  /// - Parameter limit: How many notices are kept for a reader that is slow; the oldest are dropped then, which shows in
  ///   ``HotplugNotice/number``. The sequence ends when its reader lets go of it.
  /// - Returns: The sequence.
  /// - Throws: ENOMEM.
  public func hotplugEvents(keeping limit: Int = 256) throws(HotplugError) -> HotplugEvents {
    let (stream, continuation) = AsyncStream.makeStream(
      of: HotplugNotice.self, bufferingPolicy: .bufferingNewest(max(limit, 1)))
    let observation = try observe(priority: .min) { continuation.yield($0) }
    continuation.onTermination = { _ in observation.end() }
    return HotplugEvents(stream: stream)
  }
}

/// What happens to an arena's sections, one notice after the other, for one reader.
public struct HotplugEvents: AsyncSequence, Sendable {
  /// A notice.
  public typealias Element = HotplugNotice

  let stream: AsyncStream<HotplugNotice>

  /// Waits for the next notice.
  public struct AsyncIterator: AsyncIteratorProtocol {
    var base: AsyncStream<HotplugNotice>.AsyncIterator

    /// The next notice; nil once the task was cancelled.
    public mutating func next() async -> HotplugNotice? { await base.next() }

    /// The next notice; nil once the task was cancelled.
    public mutating func next(isolation actor: isolated (any Actor)?) async -> HotplugNotice? {
      await base.next(isolation: actor)
    }
  }

  /// Begins to read.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: stream.makeAsyncIterator()) }
}
