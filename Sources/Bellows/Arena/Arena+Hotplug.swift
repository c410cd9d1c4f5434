import BellowsCore
import CShims
import Glibc

extension Arena {
  /// Where the descriptors of a section lie.
  public enum Memmap: Hashable, Sendable {
    /// At the section's own start; refused with EINVAL where the sizes do not allow it.
    case selfHosted
    /// At the section's own start where the sizes allow it, else outside. ``MemorySection/altmap`` says which it was.
    case selfHostedIfPossible
    /// In a mapping of its own: on a node, or where the section is.
    case outside(node: Int? = nil)
    /// In one of those that ``Arena/reserveMemmaps(count:)`` keeps.
    case reserved
    /// In memory of the caller's: 1/64 of the sections, from a multiple of 4 KiB. It has to stay, and be nobody else's, until
    /// the sections are removed or the arena has gone. EINVAL where it lies in one of them or has other descriptors in it; EFAULT where
    /// it cannot be written.
    case storage(AddressRange)
  }

  /// How sections are added.
  public struct AddOptions: Hashable, Sendable {
    /// Where the descriptors lie.
    public var memmap = Memmap.selfHostedIfPossible
    /// The node that the memory is bound to; nil: none in particular.
    public var node: Int?
    /// Whether the descriptors become resident at once, so that a shortage shows in the addition.
    public var populatesMemmap = true
    /// Whether the descriptors are advised to be in huge pages, where they fill one.
    public var prefersHugeMemmap = false
    /// Whether the sections are kept in reserve, with all descriptors resident: see ``Arena/onlineSpare()``.
    public var isSpare = false
    /// Whether they are what the arena begins with, which ``Arena/ZoneChoice/automatic(percent:)`` measures against.
    public var isEarly = false
    /// The memory group that they join; nil: none. It says which node they are on.
    public var group: MemoryGroup?
    /// Who is asked when they come online; nil: the group's hook, if there is one.
    public var hook: OnlineHook?
    /// Who has a hand in setting them up; nil: nobody.
    public var strategy: SectionStrategy?

    /// Makes options: a memmap in the section, resident, on no node in particular.
    public init() {}
  }

  /// Adds sections. They are offline: descriptors are there, and nothing can be allocated in them.
  ///
  /// - Parameters:
  ///   - count: The number of sections, which lie in a row.
  ///   - index: The first one's place; nil: the first places that are free.
  ///   - options: Where their descriptors lie, and more.
  /// - Returns: The places.
  /// - Throws: ``HotplugError``: EINVAL (count, placement, storage, node), E2BIG, EEXIST, EFAULT, ENOSPC, ENOMEM, EDEADLK. All of the
  ///   call is undone then.
  /// - Complexity: A few system calls a section, and 0.6 ms for populating 2 MiB of descriptors.
  @discardableResult
  public func add(
    sections count: Int = 1, at index: SectionIndex? = nil, options: AddOptions = .init()
  ) throws(HotplugError) -> Range<SectionIndex> {
    guard count > 0, (index?.rawValue ?? 0) >= 0 else { throw .invalid }
    var request = AddRequest()
    request.node = Int32(clamping: options.node ?? -1)
    request.isEager = options.populatesMemmap
    request.isHuge = options.prefersHugeMemmap
    switch options.memmap {
    case .selfHosted: request.placement = .required
    case .selfHostedIfPossible: request.placement = .preferred
    case .outside(let node):
      request.placement = .outside
      request.memmapNode = Int32(clamping: node ?? -1)
    case .reserved: request.placement = .reserve
    case .storage(let range):
      request.placement = .storage
      request.storage = range.start
      request.storageBytes = UInt(range.byteCount.rawValue)
    }
    request.isSpare = options.isSpare
    request.isEarly = options.isEarly
    request.group = options.group?.rawValue ?? 0
    if let hook = options.hook { request.hook = hook.record(in: guests) }
    if let strategy = options.strategy { request.strategy = strategy.record(in: guests) }
    defer {
      guests.letGo(options.hook)
      guests.letGo(options.strategy)
      guests.sweep(core)
    }
    do throws(Refusal) {
      let first = try core.add(request, count: UInt(count), at: index.map { UInt($0.rawValue) })
      return SectionIndex(rawValue: Int(first))..<SectionIndex(rawValue: Int(first) + count)
    } catch { throw HotplugError(error) }
  }

  /// Keeps descriptors for `count` more sections, resident, for ``Memmap/reserved``.
  ///
  /// - Throws: ENOMEM; E2BIG where there are fewer places.
  public func reserveMemmaps(count: Int) throws(HotplugError) {
    guard count >= 0 else { throw .invalid }
    try run { () throws(Refusal) in try core.reserveMemmaps(UInt(count)) }
  }

  /// Replaces the hook of sections that are offline; nil: their pages are the page allocator's.
  ///
  /// - Throws: EBUSY where one is not offline; ENXIO, EDEADLK.
  public func setHook(_ hook: OnlineHook?, of sections: Range<SectionIndex>) throws(HotplugError) {
    let record = hook?.record(in: guests) ?? BellowsCore.OnlineHook()
    defer {
      guests.letGo(hook)
      guests.sweep(core)
    }
    try run { () throws(Refusal) in try core.setHook(try range(sections), record) }
  }

  /// Gives pages that an online hook kept to the page allocator, whole pages of one section.
  ///
  /// - Throws: EINVAL where one of them is not kept.
  public func supply(_ range: AddressRange) throws(HotplugError) {
    guard range.start.isMultiple(of: Page.bytes), range.byteCount <= configuration.sectionSize,
      range.byteCount.rawValue.isMultiple(of: Int(Page.bytes))
    else { throw .invalid }
    try run { () throws(Refusal) in
      try core.supply(
        address: range.start, pages: UInt(range.byteCount.rawValue) >> Page.shift, isAbsent: false)
    }
  }

  /// Makes sections visible to listings: optional, they work without.
  ///
  /// - Throws: EEXIST where one is registered; ENXIO, EBUSY, EDEADLK.
  public func register(_ sections: Range<SectionIndex>) throws(HotplugError) {
    try run { () throws(Refusal) in try core.register(try range(sections)) }
  }

  /// Takes sections out of listings.
  ///
  /// - Throws: EINVAL where one is not registered; ENXIO, EBUSY, EDEADLK.
  public func unregister(_ sections: Range<SectionIndex>) throws(HotplugError) {
    try run { () throws(Refusal) in try core.unregister(try range(sections)) }
  }

  /// Brings sections online: their pages can be allocated. All of them or none.
  ///
  /// - Parameters:
  ///   - sections: Which, by index.
  ///   - zone: The zone that they come to, chosen for each memory block in turn.
  /// - Throws: EINVAL where one is online; ENXIO, EBUSY, EDEADLK; ENOMEM: also for the record of a zone, where it is the
  ///   first; or what an observer answers.
  /// - Complexity: O(1) a section; with ``ZoneChoice/automatic(percent:)`` O(zones + groups).
  public func online(
    _ sections: Range<SectionIndex>, in zone: ZoneChoice = .contiguous
  ) throws(HotplugError) {
    try run { () throws(Refusal) in try core.online(try range(sections), in: zone.core) }
  }

  /// Takes sections offline, all of them or none: nothing may be allocated in them but relocatable blocks, which are moved
  /// unless they are pinned. Their pages go back to the system, their addresses are inaccessible, their descriptors stay.
  ///
  /// - Parameters:
  ///   - sections: Which, by index.
  ///   - limit: How long to wait for pages to be freed.
  /// - Throws: EBUSY where pages are in use; EINVAL where one is offline; ENXIO, EDEADLK; or what an observer answers.
  /// - Complexity: What the system takes to return the pages, about 75 us per MiB.
  public func offline(_ sections: Range<SectionIndex>, within limit: Duration = .zero) throws(HotplugError) {
    let request = OfflineRequest(policy: .wholeOnly, deadline: limit.deadline)
    try run { () throws(Refusal) in
      var report = BellowsCore.OfflineReport()
      try core.offline(try range(sections), request, &report) { usleep(UInt32($0) * 1000) }
    }
  }

  /// Removes sections that are offline: their addresses are as if they had never been added, their places free.
  ///
  /// - Throws: EBUSY where one is not offline; EINVAL where more than a memory block is named and one section hosts its own
  ///   descriptors: such go by memory blocks; ENXIO, EDEADLK, ENOMEM.
  public func remove(_ sections: Range<SectionIndex>) throws(HotplugError) {
    try run { () throws(Refusal) in try core.remove(try range(sections)) }
  }

  // MARK: Looking

  /// A memmap's carving out of the section that it describes, in pages of the arena.
  public struct Altmap: Hashable, Sendable, Codable {
    /// The first page of what is described.
    public var base: Int
    /// Pages at the front that are somebody else's.
    public var reserve: Int
    /// Pages that are set aside for descriptors.
    public var free: Int
    /// Pages that were skipped for alignment.
    public var align: Int
    /// Pages that are handed out.
    public var alloc: Int
  }

  /// Where a section is between absent and online.
  public enum SectionState: UInt8, Hashable, Sendable, Codable {
    /// Not added, or removed.
    case absent
    /// Added; none of its pages can be allocated.
    case offline
    /// On its way in.
    case goingOnline
    /// In use.
    case online
    /// On its way out: nothing is allocated in it any more.
    case goingOffline
    /// A device's.
    case device
  }

  /// What is known of a section that was added.
  public struct MemorySection: Hashable, Sendable, Codable {
    /// Its place in the arena.
    public var index: SectionIndex
    /// Order of birth: stays, whatever is added or removed around it.
    public var number: Int
    /// Its addresses.
    public var addressRange: AddressRange
    /// Where it is between absent and online.
    public var state: SectionState
    /// Whether listings show it.
    public var isRegistered: Bool
    /// The node that it is bound to; nil: none in particular.
    public var node: Int?
    /// The kind of zone that it is in; nil while it is offline.
    public var zone: ZoneKind?
    /// Whether it is of what the arena began with.
    public var isEarly: Bool
    /// Where its descriptors lie.
    public var memmap: AddressRange
    /// How they are carved out of it; nil where they lie outside.
    public var altmap: Altmap?
    /// Whether it is kept in reserve.
    public var isSpare: Bool
    /// The memory block that it is part of.
    public var block: Int
    /// The memory group that it belongs to; nil: none.
    public var group: MemoryGroup?
    /// What came online of it, descriptors included; zero while it is offline.
    public var present: ByteCount
    /// What of that is the page allocator's: without descriptors, and without what hooks and balloons keep.
    public var managed: ByteCount
    /// What of that is allocated.
    public var used: ByteCount
    /// What its descriptors take of memory elsewhere.
    public var outsideMemmap: ByteCount { altmap == nil ? memmap.byteCount : .zero }
  }

  /// What is known of the section at a place; nil where none is.
  public func memorySection(_ index: SectionIndex) -> MemorySection? {
    guard index.rawValue >= 0 else { return nil }
    core.growth.acquire()
    defer { core.growth.release() }
    guard let section = core.section(index: UInt(index.rawValue)), section.it.state != .absent,
      section.it.state != .device
    else { return nil }
    let memory = section.it.memory
    let figures = core.figures(section)
    return MemorySection(
      index: index, number: Int(section.it.number),
      addressRange: AddressRange(start: section.it.base, byteCount: configuration.sectionSize),
      state: SectionState(rawValue: section.it.state.rawValue) ?? .absent,
      isRegistered: memory.has(SectionMemory.registered), node: memory.node < 0 ? nil : Int(memory.node),
      zone: memory.has(SectionMemory.joined) ? ZoneKind(core.lastZone(of: section).it.kind) : nil,
      isEarly: memory.has(SectionMemory.early),
      memmap: AddressRange(start: section.it.memmap, byteCount: .bytes(Int(core.it.geometry.memmapBytes))),
      altmap: memory.has(SectionMemory.selfHosted) ? Altmap(memory.altmap) : nil,
      isSpare: memory.has(SectionMemory.spare), block: index.rawValue / configuration.sectionsPerBlock,
      group: memory.group == 0 ? nil : MemoryGroup(rawValue: memory.group),
      present: ByteCount(pages: figures.present), managed: ByteCount(pages: figures.managed),
      used: ByteCount(pages: figures.used))
  }

  func range(_ sections: Range<SectionIndex>) throws(Refusal) -> Range<UInt> {
    guard sections.lowerBound.rawValue >= 0, !sections.isEmpty else { throw .invalid }
    return UInt(sections.lowerBound.rawValue)..<UInt(sections.upperBound.rawValue)
  }

  func run(_ body: () throws(Refusal) -> Void) throws(HotplugError) {
    do throws(Refusal) { try body() } catch { throw HotplugError(error) }
  }
}

extension HotplugError {
  init(_ refusal: Refusal) { self.init(errno: refusal.number) }
}
