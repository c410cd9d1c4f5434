import BellowsCore
import Synchronization

/// Objects that the engine calls, by number: a number that has left is nobody's ever again, so that a call which was under way
/// when its object left finds nothing or still has it.
private let present = Mutex<(objects: [UInt: any AnyObject & Sendable], last: UInt)>(([:], 0))

/// The objects that the engine was given for one arena, and which of them it may still call.
///
/// Observers leave when they end. A hook or a strategy leaves when no section and no group has it: that is looked at when there
/// are twice as many as there were after the last look.
final class ArenaGuests: Sendable {
  private struct Entry {
    var number: UInt
    /// Calls that are about to give it to the engine.
    var pins = 0
    /// When the last of them ended.
    var stamp: UInt = 0
    var staysUntilTold: Bool
  }
  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var clock: UInt = 0
    var limit = 32
  }
  private let state = Mutex(State())

  deinit {
    let numbers = state.withLock { $0.entries.values.map(\.number) }
    present.withLock { for number in numbers { $0.objects[number] = nil } }
  }

  /// The object that the engine calls by a number.
  static func object<Object: AnyObject>(_ number: UInt, as: Object.Type) -> Object? {
    present.withLock { $0.objects[number] } as? Object
  }

  /// The number of an object, which stays until `leave`, or with `letGo` until nothing has it.
  func enter(_ object: some AnyObject & Sendable, staysUntilTold: Bool = false) -> UInt {
    state.withLock { state in
      let key = ObjectIdentifier(object)
      if state.entries[key] == nil {
        let number = present.withLock { present in
          present.last += 1
          present.objects[present.last] = object
          return present.last
        }
        state.entries[key] = Entry(number: number, staysUntilTold: staysUntilTold)
      }
      state.entries[key]?.pins += 1
      return state.entries[key]?.number ?? 0
    }
  }

  /// What it was entered for has come to pass, or not.
  func letGo(_ object: (some AnyObject & Sendable)?) {
    guard let object else { return }
    state.withLock { state in
      state.clock += 1
      state.entries[ObjectIdentifier(object)]?.pins -= 1
      state.entries[ObjectIdentifier(object)]?.stamp = state.clock
    }
  }

  func leave(_ object: some AnyObject & Sendable) {
    let entry = state.withLock { $0.entries.removeValue(forKey: ObjectIdentifier(object)) }
    if let entry { present.withLock { $0.objects[entry.number] = nil } }
  }

  /// Sends those away that nothing in `arena` has. O(sections), now and then.
  func sweep(_ arena: ArenaRef) {
    guard let began = state.withLock({ $0.entries.count > $0.limit ? $0.clock : nil }) else { return }
    var inUse: Set<UInt> = []
    arena.forEachContext { inUse.insert($0) }
    let gone = state.withLock { state in
      let idle = state.entries.filter {
        !$1.staysUntilTold && $1.pins == 0 && $1.stamp <= began && !inUse.contains($1.number)
      }
      for key in idle.keys { state.entries[key] = nil }
      state.limit = max(32, 2 * state.entries.count)
      return idle.values.map(\.number)
    }
    present.withLock { for number in gone { $0.objects[number] = nil } }
  }
}
