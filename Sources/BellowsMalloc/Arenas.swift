// Arenas of the caller's and their sections for C (bellows.h).
//
//   one mapping     │ arena │ zone            │ chain │     a handle is the address of the first
//                                               │
//   mapped chunks                               └──► metadata ──► ...

import BellowsCoreEmbedded
import CMalloc
import CShims

private let invalid = Refusal.invalid.number

/// The records of an arena of the caller's, by its handle.
private struct CallersArena {
  let base: UInt

  private static var zoneOffset: UInt { 1024 }
  private static var chainOffset: UInt { 8192 }
  private static var bytes: UInt { 12288 }

  var arena: ArenaRef { ArenaRef(base) }
  private var chain: MetadataChain { MetadataChain(anchor: base &+ Self.chainOffset) }

  static func make(_ geometry: Geometry, capacity: UInt) throws(Refusal) -> CallersArena {
    guard let base = Platform.system.address(.map, 0, bytes) else { throw .noMemory }
    let made = CallersArena(base: base)
    let platform = Platform(context: base &+ chainOffset) { anchor, call, a, b, c, d in
      call == SystemCall.map.rawValue
        ? MetadataChain(anchor: anchor).map(b) : bellows_system(0, call, a, b, c, d)
    }
    guard
      made.arena.initialise(
        geometry: geometry, platform: platform, zone: ZoneRef(base &+ zoneOffset), capacity: capacity)
    else {
      made.chain.release()
      Platform.system.attempt(.release, base, bytes)
      throw .noMemory
    }
    return made
  }

  func release() throws(Refusal) {
    guard !arena.isInTransition else { throw .busy }
    arena.releaseMemmaps()
    arena.releaseReservation()
    chain.release()
    Platform.system.attempt(.release, base, Self.bytes)
  }
}

/// Calls `body` with the arena of a handle: 0 or an errno.
private func change(_ handle: UInt, _ body: (ArenaRef) throws(Refusal) -> Void) -> Int32 {
  guard handle != 0 else { return invalid }
  return Answer.number { () throws(Refusal) in try body(ArenaRef(handle)) }
}

private func range(_ first: UInt, _ count: UInt) throws(Refusal) -> Range<UInt> {
  let (end, overflow) = first.addingReportingOverflow(count)
  guard count > 0, !overflow else { throw .invalid }
  return first..<end
}

// MARK: The arena

@c(bw_arena_reserve)
func arenaReserve(_ capacity: UInt, _ options: UInt, _ size: UInt, _ arena: UInt) -> Int32 {
  let chosen = Answer.read(bellows_arena_options(), from: options, size: size)
  let sectionBytes = chosen.section_size == 0 ? 128 << 20 : UInt(bitPattern: chosen.section_size)
  guard bellows_page_size() == Page.bytes else { return Answer.noSystem }
  guard capacity > 0, capacity <= 64 << 40, let geometry = Geometry(sectionBytes: sectionBytes) else {
    return invalid
  }
  return Answer.number { () throws(Refusal) in
    guard UInt(chosen.block_sections) <= (capacity &- 1) / sectionBytes &+ 1 else { throw .invalid }
    let made = try CallersArena.make(geometry, capacity: capacity)
    made.arena.it.growsByNeed = chosen.grows_by_need != 0
    made.arena.it.blockSections = max(chosen.block_sections, 1)
    Ref<UInt>(arena).it = made.base
  }
}

@c(bw_arena_release)
func arenaRelease(_ handle: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try CallersArena(base: arena.address).release() }
}

@c(bw_arena_range)
func arenaRange(_ handle: UInt, _ bytes: UInt) -> UInt {
  guard handle != 0 else { return 0 }
  if bytes != 0 { Ref<UInt>(bytes).it = ArenaRef(handle).it.capacity }
  return ArenaRef(handle).it.reservation
}

// MARK: Adding

@c(bw_arena_add)
func arenaAdd(_ handle: UInt, _ count: UInt, _ first: UInt, _ options: UInt, _ size: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    let place = Ref<UInt>(first).it
    let request = try request(options, size)
    Ref<UInt>(first).it = try arena.add(request, count: count, at: place == .max ? nil : place)
  }
}

/// What options in C ask for.
private func request(_ options: UInt, _ size: UInt) throws(Refusal) -> AddRequest {
  var chosen = unsafe bellows_add_options()
  unsafe chosen.node = -1
  unsafe chosen.memmap_node = -1
  unsafe chosen = Answer.read(chosen, from: options, size: size)
  var request = AddRequest()
  request.node = unsafe chosen.node
  request.memmapNode = unsafe chosen.memmap_node
  switch unsafe chosen.memmap {
  case 0: request.placement = .preferred
  case 1: request.placement = .required
  case 2: request.placement = .outside
  case 3: request.placement = .storage
  case 4: request.placement = .reserve
  default: throw .invalid
  }
  let flags = unsafe chosen.flags
  guard flags < 16 else { throw .invalid }
  request.isEager = flags & 1 == 0
  request.isHuge = flags & 2 != 0
  request.isSpare = flags & 4 != 0
  request.isEarly = flags & 8 != 0
  request.group = unsafe chosen.group
  request.storage = UInt(bitPattern: unsafe chosen.storage)
  request.storageBytes = UInt(bitPattern: unsafe chosen.storage_bytes)
  request.hook = OnlineHook(
    function: unsafe unsafeBitCast(chosen.hook, to: OnlineHook.Function?.self),
    context: UInt(bitPattern: unsafe chosen.hook_context))
  request.strategy = SectionStrategy(
    setUp: unsafe unsafeBitCast(chosen.set_up, to: SectionStrategy.Step?.self),
    construct: unsafe unsafeBitCast(chosen.construct, to: SectionStrategy.Step?.self),
    tearDown: unsafe unsafeBitCast(chosen.tear_down, to: SectionStrategy.Ending?.self),
    context: UInt(bitPattern: unsafe chosen.step_context))
  return request
}

@c(bw_arena_reserve_memmaps)
func arenaReserveMemmaps(_ handle: UInt, _ count: UInt, _ node: Int32) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.reserveMemmaps(count, node: node) }
}

// MARK: Transitions

@c(bw_arena_register)
func arenaRegister(_ handle: UInt, _ first: UInt, _ count: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.register(try range(first, count)) }
}

@c(bw_arena_unregister)
func arenaUnregister(_ handle: UInt, _ first: UInt, _ count: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.unregister(try range(first, count)) }
}

@c(bw_arena_online)
func arenaOnline(_ handle: UInt, _ first: UInt, _ count: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.online(try range(first, count)) }
}

@c(bw_arena_online_in)
func arenaOnlineIn(_ handle: UInt, _ first: UInt, _ count: UInt, _ zone: Int32, _ percent: UInt32) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    let choice: ZoneChoice
    switch zone {
    case 0: choice = .contiguous
    case 1: choice = .normal
    case 2: choice = .movable
    case 3: choice = .automatic(ratio: percent)
    default: throw .invalid
    }
    try arena.online(try range(first, count), in: choice)
  }
}

@c(bw_arena_offline)
func arenaOffline(
  _ handle: UInt, _ first: UInt, _ count: UInt, _ milliseconds: UInt32, _ cancel: UInt, _ out: UInt,
  _ size: UInt
) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    var report = OfflineReport()
    defer { Offline.write(report, to: out, size: size) }
    let request = OfflineRequest(
      policy: .wholeOnly, deadline: bellows_clock_milliseconds() &+ UInt64(milliseconds), cancelWord: cancel)
    try arena.offline(try range(first, count), request, &report) { bellows_sleep_milliseconds($0) }
  }
}

@c(bw_arena_remove)
func arenaRemove(_ handle: UInt, _ first: UInt, _ count: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.remove(try range(first, count)) }
}

@c(bw_arena_set_hook)
func arenaSetHook(_ handle: UInt, _ first: UInt, _ count: UInt, _ hook: UInt, _ context: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    let function = unsafe unsafeBitCast(hook, to: OnlineHook.Function?.self)
    try arena.setHook(try range(first, count), OnlineHook(function: function, context: context))
  }
}

@c(bw_arena_online_spare)
func arenaOnlineSpare(_ handle: UInt, _ first: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    let range = try arena.onlineSpare()
    if first != 0 { Ref<UInt>(first).it = range.lowerBound }
  }
}

// MARK: Groups

@c(bw_arena_add_group)
func arenaAddGroup(_ handle: UInt, _ kind: Int32, _ bytes: UInt, _ node: Int32, _ group: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    guard kind == 1 || kind == 2 else { throw .invalid }
    Ref<UInt32>(group).it = try arena.makeGroup(kind == 1 ? .fixed : .dynamic, bytes: bytes, node: node)
  }
}

@c(bw_arena_remove_group)
func arenaRemoveGroup(_ handle: UInt, _ group: UInt32) -> Int32 {
  change(handle) { (arena) throws(Refusal) in try arena.endGroup(group) }
}

@c(bw_arena_remove_sections)
func arenaRemoveSections(
  _ handle: UInt, _ group: UInt32, _ milliseconds: UInt32, _ cancel: UInt, _ out: UInt, _ size: UInt
) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    var report = OfflineReport()
    defer { Offline.write(report, to: out, size: size) }
    let request = OfflineRequest(
      policy: .wholeOnly, deadline: bellows_clock_milliseconds() &+ UInt64(milliseconds), cancelWord: cancel)
    try arena.removeSections(ofGroup: group, request, &report) { bellows_sleep_milliseconds($0) }
  }
}

// MARK: Pages

@c(bw_arena_allocate)
func arenaAllocate(_ handle: UInt, _ bytes: UInt, _ alignment: UInt, _ start: UInt) -> Int32 {
  allocate(handle, bytes, alignment, start, isMovable: false)
}

@c(bw_arena_allocate_movable)
func arenaAllocateMovable(_ handle: UInt, _ bytes: UInt, _ alignment: UInt, _ start: UInt) -> Int32 {
  allocate(handle, bytes, alignment, start, isMovable: true)
}

private func allocate(
  _ handle: UInt, _ bytes: UInt, _ alignment: UInt, _ start: UInt, isMovable: Bool
) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    guard bytes > 0, alignment.isPowerOfTwo else { throw .invalid }
    // Larger than any section, rounding included.
    guard bytes <= arena.it.geometry.sectionBytes, alignment <= arena.it.geometry.sectionBytes,
      let run = arena.allocate(
        pages: Page.count(bytes), alignment: max(alignment &>> Page.shift, 1), isMovable: isMovable)
    else { throw .noMemory }
    if !run.isZero { bellows_zero(run.address, run.bytes) }
    Ref<UInt>(start).it = run.address
  }
}

@c(bw_arena_free)
func arenaFree(_ handle: UInt, _ start: UInt, _ bytes: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    let pages = Page.count(bytes)
    guard bytes > 0, start.isAligned(to: Page.bytes), bytes <= arena.it.geometry.sectionBytes,
      let section = arena.section(at: start), section.it.zone != 0, section.it.state != .device,
      start &- section.it.base &+ pages &<< Page.shift <= arena.it.geometry.sectionBytes,
      (start &- section.it.base) &>> arena.it.geometry.pageblockShift >= UInt(section.it.memmapBlocks)
    else { throw .invalid }
    guard ZoneRef(section.it.zone).freeAllocated(section, address: start, pages: pages) else {
      throw .invalid
    }
  }
}

@c(bw_arena_supply)
func arenaSupply(_ handle: UInt, _ start: UInt, _ pages: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    guard start.isAligned(to: Page.bytes), pages <= arena.it.geometry.sectionPages else { throw .invalid }
    try arena.supply(address: start, pages: pages, isAbsent: false)
  }
}

// MARK: Looking

@c(bw_arena_section)
func arenaSection(_ handle: UInt, _ index: UInt, _ out: UInt, _ size: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    var known = unsafe bellows_section()
    arena.growth.acquire()
    defer { arena.growth.release() }
    guard let section = arena.section(index: index), section.it.state != .absent, section.it.state != .device
    else { throw .noDevice }
    let memory = section.it.memory
    let figures = arena.figures(section)
    unsafe known.index = Int(bitPattern: index)
    unsafe known.number = Int(section.it.number)
    unsafe known.start = UnsafeMutableRawPointer(bitPattern: section.it.base)
    unsafe known.bytes = Int(bitPattern: arena.it.geometry.sectionBytes)
    unsafe known.state = UInt32(section.it.state.rawValue)
    unsafe known.flags = sectionFlags(memory)
    unsafe known.node = memory.node
    unsafe known.group = memory.group
    unsafe known.block = Int(bitPattern: index / UInt(arena.it.blockSections))
    unsafe known.memmap = UnsafeMutableRawPointer(bitPattern: section.it.memmap)
    unsafe known.memmap_bytes = Int(bitPattern: arena.it.geometry.memmapBytes)
    unsafe known.altmap = bellows_altmap(
      base: Int(bitPattern: memory.altmap.base), reserve: Int(bitPattern: memory.altmap.reserve),
      free: Int(bitPattern: memory.altmap.free), align: Int(bitPattern: memory.altmap.align),
      alloc: Int(bitPattern: memory.altmap.alloc))
    unsafe known.present = Int(bitPattern: figures.present &<< Page.shift)
    unsafe known.managed = Int(bitPattern: figures.managed &<< Page.shift)
    unsafe known.used = Int(bitPattern: figures.used &<< Page.shift)
    unsafe Answer.write(known, to: out, size: size)
  }
}

private func sectionFlags(_ memory: SectionMemory) -> UInt32 {
  var flags: UInt32 = 0
  if memory.has(SectionMemory.registered) { flags |= 1 }
  if memory.has(SectionMemory.selfHosted) { flags |= 2 }
  if memory.has(SectionMemory.populated) { flags |= 4 }
  if memory.has(SectionMemory.spare) { flags |= 8 }
  if memory.has(SectionMemory.early) { flags |= 16 }
  if memory.has(SectionMemory.joined), memory.has(SectionMemory.movable) { flags |= 32 }
  return flags
}

// MARK: Observers

@c(bw_arena_observe)
func arenaObserve(
  _ handle: UInt, _ notified: UInt, _ context: UInt, _ priority: Int32, _ observer: UInt
) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    guard let function = unsafe unsafeBitCast(notified, to: Observer.Function?.self) else { throw .invalid }
    Ref<UInt>(observer).it = try arena.observe(priority: Int(priority), context: context, function).address
  }
}

@c(bw_arena_unobserve)
func arenaUnobserve(_ handle: UInt, _ observer: UInt) -> Int32 {
  change(handle) { (arena) throws(Refusal) in
    guard observer != 0 else { throw .invalid }
    arena.endObserving(ObserverRef(observer))
  }
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_arenas)
func namesArenas() { bellows_names_arenas() }
