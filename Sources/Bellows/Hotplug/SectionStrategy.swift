import BellowsCore

/// What somebody else does to sections on their way in and out: set up, construct, tear down.
///
/// `setUp` runs before the descriptors are placed and may change the altmap; `construct` when all descriptors are valid and
/// nobody else sees them. Either may throw: the section is then as if it had never been added. `tearDown` runs when a
/// section that was set up goes, and when its addition fails later on. All run in the calling thread with no lock held.
///
/// Strategies are told apart by identity. An arena keeps those that its sections have.
public final class SectionStrategy: Sendable {
  /// What a step sees of a section.
  public struct Plan: Hashable, Sendable {
    /// The section's addresses, accessible but for `tearDown`.
    public let addressRange: AddressRange
    /// Where its descriptors lie; nil before they are placed, and when they have gone.
    public let memmap: AddressRange?
    /// How they are carved out of it; nil where they lie outside. `setUp` may change it.
    public var altmap: Arena.Altmap?
    /// The node that it is bound to; nil: none in particular.
    public let node: Int?
  }

  /// Before the descriptors are placed.
  public typealias SetUp = @Sendable (inout Plan) throws(HotplugError) -> Void
  /// When all descriptors are valid.
  public typealias Construct = @Sendable (Plan) throws(HotplugError) -> Void
  /// When the section goes.
  public typealias TearDown = @Sendable (Plan) -> Void

  private let setUp: SetUp?
  private let construct: Construct?
  private let tearDown: TearDown?

  /// Makes a strategy of the steps that are given.
  public init(setUp: SetUp? = nil, construct: Construct? = nil, tearDown: TearDown? = nil) {
    self.setUp = setUp
    self.construct = construct
    self.tearDown = tearDown
  }

  /// For as long as it is among the guests.
  func record(in guests: ArenaGuests) -> BellowsCore.SectionStrategy {
    BellowsCore.SectionStrategy(
      setUp: { context, plan in
        guard let strategy = ArenaGuests.object(context, as: SectionStrategy.self), let body = strategy.setUp
        else { return 0 }
        let core = Ref<SectionPlan>(plan)
        var seen = Plan(core.it)
        do throws(HotplugError) { try body(&seen) } catch { return error.errno }
        if let altmap = seen.altmap { altmap.write(to: &core.it.altmap) }
        return 0
      },
      construct: { context, plan in
        guard let strategy = ArenaGuests.object(context, as: SectionStrategy.self),
          let body = strategy.construct
        else { return 0 }
        do throws(HotplugError) { try body(Plan(Ref<SectionPlan>(plan).it)) } catch { return error.errno }
        return 0
      },
      tearDown: { context, plan in
        ArenaGuests.object(context, as: SectionStrategy.self)?.tearDown?(Plan(Ref<SectionPlan>(plan).it))
      }, context: guests.enter(self))
  }
}

extension SectionStrategy: Hashable {
  /// Whether they are the same object.
  public static func == (a: SectionStrategy, b: SectionStrategy) -> Bool { a === b }

  /// Feeds the object's identity.
  public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

extension SectionStrategy.Plan {
  fileprivate init(_ core: SectionPlan) {
    addressRange = AddressRange(start: core.base, byteCount: .bytes(Int(core.bytes)))
    memmap =
      core.memmap == 0
      ? nil : AddressRange(start: core.memmap, byteCount: .bytes(Int(core.memmapBytes)))
    altmap = core.altmap == BellowsCore.Altmap() ? nil : Arena.Altmap(core.altmap)
    node = core.node < 0 ? nil : core.node
  }
}

extension Arena.Altmap {
  init(_ core: BellowsCore.Altmap) {
    self.init(
      base: Int(core.base), reserve: Int(core.reserve), free: Int(core.free), align: Int(core.align),
      alloc: Int(core.alloc))
  }

  /// Numbers below zero become ones that no section has room for.
  fileprivate func write(to core: inout BellowsCore.Altmap) {
    core.base = UInt(bitPattern: base)
    core.reserve = UInt(bitPattern: reserve)
    core.free = UInt(bitPattern: free)
    core.align = UInt(bitPattern: align)
    core.alloc = UInt(bitPattern: alloc)
  }
}
