import BellowsCore

/// Who is asked first when a section comes online: its pages are the page allocator's, or kept.
///
/// A hook belongs to sections, by ``Arena/AddOptions/hook`` or ``Arena/setHook(_:of:)``, or to a ``MemoryGroup``; never to
/// the whole process, so that two who keep pages never get each other's. Hooks are told apart by identity. An arena
/// keeps those that its sections and groups have.
public final class OnlineHook: Sendable {
  /// What becomes of pages.
  public enum Decision: Hashable, Sendable {
    /// They can be allocated.
    case release
    /// Nobody can allocate them until ``Arena/supply(_:)``. They are present and not managed.
    case keep
  }

  private let decide: @Sendable (AddressRange) -> Decision

  /// Makes a hook that is asked for each aligned run of a fresh section, the largest that its address allows: of a
  /// 128 MiB section that hosts its descriptors 2, 4, 8, 16, 32 and 64 MiB.
  ///
  /// It runs in the thread that brings the section online, with no lock held: it may allocate. A transition from inside
  /// of it is EDEADLK. The addresses are accessible, and nothing of them is resident.
  public init(_ decide: @escaping @Sendable (AddressRange) -> Decision) { self.decide = decide }

  /// For as long as it is among the guests.
  func record(in guests: ArenaGuests) -> BellowsCore.OnlineHook {
    BellowsCore.OnlineHook(
      function: { context, _, address, pages in
        guard let hook = ArenaGuests.object(context, as: OnlineHook.self) else { return 0 }
        let range = AddressRange(start: address, byteCount: ByteCount(pages: pages))
        return hook.decide(range) == .keep ? 1 : 0
      }, context: guests.enter(self))
  }
}

extension OnlineHook: Hashable {
  /// Whether they are the same object.
  public static func == (a: OnlineHook, b: OnlineHook) -> Bool { a === b }

  /// Feeds the object's identity.
  public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}
