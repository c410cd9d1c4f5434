import Synchronization

/// Objects whose addresses the engine was given. They live as long as the arena does, since a call to one may be under way.
final class ArenaGuests: Sendable {
  private let objects = Mutex<[ObjectIdentifier: any AnyObject & Sendable]>([:])

  func keep(_ object: some AnyObject & Sendable) {
    objects.withLock { $0[ObjectIdentifier(object)] = object }
  }

  func drop(_ object: some AnyObject & Sendable) {
    objects.withLock { $0[ObjectIdentifier(object)] = nil }
  }
}
