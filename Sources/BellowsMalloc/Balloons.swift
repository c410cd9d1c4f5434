// Balloons, huge pages, sub-blocks and device memory for C (bellows.h). A handle is the address of the engine's record.

import BellowsCoreEmbedded
import CMalloc
import CShims

private let noSystem = Answer.noSystem
private let invalid = Refusal.invalid.number
private let noMemory = Refusal.noMemory.number

/// The arena that a handle names; the process heap's for NULL. Nil: there is no process heap.
private func arena(_ handle: UInt) -> ArenaRef? {
  if handle != 0 { return ArenaRef(handle) }
  return Process.isReady || Process.start() ? Process.arena : nil
}

private func answer(_ outcome: BalloonOutcome, _ done: UInt) -> Int32 {
  if done != 0 { Ref<UInt>(done).it = outcome.pages &<< Page.shift }
  return outcome.reason?.number ?? 0
}

// MARK: Balloons

@c(bw_balloon_create)
func balloonCreate(_ handle: UInt, _ options: UInt, _ size: UInt, _ balloon: UInt) -> Int32 {
  guard let arena = arena(handle) else { return noSystem }
  var chosen = bellows_balloon_options()
  if options != 0 {
    unsafe withUnsafeMutableBytes(of: &chosen) { memory in
      bellows_copy(UInt(bitPattern: memory.baseAddress), options, min(size, UInt(bitPattern: memory.count)))
    }
  }
  let isLarge = chosen.pageblocks != 0
  let traits = BalloonTraits(
    unitPages: isLarge ? arena.it.geometry.pageblockPages : 1, isHuge: isLarge,
    floorPages: Page.count(UInt(bitPattern: chosen.floor)),
    keptPages: Page.count(UInt(bitPattern: chosen.kept)),
    answersShortage: chosen.ignore_shortage == 0, isGrowing: chosen.grow != 0)
  guard let record = arena.makeBalloon(traits) else { return noMemory }
  Ref<UInt>(balloon).it = record.address
  return 0
}

@c(bw_balloon_destroy)
func balloonDestroy(_ balloon: UInt) {
  let record = BalloonRef(balloon)
  record.it.arena.retire(record)
}

@c(bw_balloon_add_section)
func balloonAddSection(_ balloon: UInt) -> Int32 {
  let record = BalloonRef(balloon)
  return record.it.arena.addSection(for: .balloon(record)) == nil ? noMemory : 0
}

@c(bw_balloon_deflate)
func balloonDeflate(_ balloon: UInt, _ bytes: UInt, _ done: UInt) -> Int32 {
  answer(BalloonRef(balloon).deflate(Page.count(bytes)), done)
}

@c(bw_balloon_inflate)
func balloonInflate(_ balloon: UInt, _ bytes: UInt, _ done: UInt) -> Int32 {
  answer(BalloonRef(balloon).inflate(Page.count(bytes)), done)
}

@c(bw_balloon_set_target)
func balloonSetTarget(_ balloon: UInt, _ bytes: UInt) { BalloonRef(balloon).setTarget(bytes &>> Page.shift) }

@c(bw_balloon_advance)
func balloonAdvance(_ balloon: UInt, _ done: UInt) -> Int32 {
  answer(BalloonRef(balloon).advance(bellows_clock_milliseconds()), done)
}

@c(bw_balloon_figures)
func balloonFigures(_ balloon: UInt, _ target: UInt, _ size: UInt) {
  let record = BalloonRef(balloon)
  record.lock.acquire()
  var figures = bellows_balloon_figures(
    held: Int(bitPattern: record.it.held.pages &<< Page.shift),
    managed: Int(bitPattern: record.managedPages &<< Page.shift),
    deflated: Int(bitPattern: record.it.deflatedPages &<< Page.shift),
    relieved: Int(bitPattern: record.it.relievedPages &<< Page.shift),
    inflated: Int(bitPattern: record.it.inflatedPages &<< Page.shift))
  record.lock.release()
  unsafe withUnsafeMutableBytes(of: &figures) { memory in
    bellows_copy(target, UInt(bitPattern: memory.baseAddress), min(size, UInt(bitPattern: memory.count)))
  }
}

// MARK: Huge pages

@c(bw_huge_page_take)
func hugePageTake(_ balloon: UInt, _ reserved: Int32, _ page: UInt) -> Int32 {
  let record = BalloonRef(balloon)
  guard record.it.traits.unitPages > 1 else { return invalid }
  return Answer.number { () throws(Refusal) in
    Ref<UInt>(page).it = try record.takeUnit(reserved: reserved != 0)
  }
}

@c(bw_huge_page_give)
func hugePageGive(_ balloon: UInt, _ reserved: Int32, _ page: UInt) -> Int32 {
  let record = BalloonRef(balloon)
  guard record.it.traits.unitPages > 1 else { return invalid }
  return Answer.number { () throws(Refusal) in try record.giveUnit(page, reserved: reserved != 0) }
}

// MARK: Sub-blocks

@c(bw_sub_block_size)
func subBlockSize(_ handle: UInt) -> UInt { arena(handle)?.it.geometry.pageblockBytes ?? 0 }

@c(bw_sub_block_unplug)
func subBlockUnplug(_ handle: UInt, _ start: UInt) -> Int32 {
  guard let arena = arena(handle) else { return noSystem }
  guard let record = arena.subBlocks() else { return noMemory }
  return Answer.number { () throws(Refusal) in try record.unplug(start) }
}

@c(bw_sub_block_plug)
func subBlockPlug(_ handle: UInt, _ start: UInt) -> Int32 {
  guard let arena = arena(handle) else { return noSystem }
  guard let record = arena.subBlocks() else { return noMemory }
  return Answer.number { () throws(Refusal) in try record.plug(start) }
}

@c(bw_sub_block_add_section)
func subBlockAddSection(_ handle: UInt, _ first: UInt, _ count: UInt) -> Int32 {
  guard let arena = arena(handle) else { return noSystem }
  guard let record = arena.subBlocks(), let section = arena.addSection(for: .subBlocks(record)) else {
    return noMemory
  }
  Ref<UInt>(first).it = section.it.base &+ UInt(section.it.memmapBlocks) &<< arena.it.geometry.pageblockShift
  Ref<UInt>(count).it = UInt(section.it.blocks &- section.it.memmapBlocks) &* UInt(arena.it.blockSections)
  return 0
}

// MARK: Device memory

@c(bw_device_add)
func deviceAdd(_ handle: UInt, _ request: UInt, _ size: UInt, _ device: UInt) -> Int32 {
  guard let arena = arena(handle) else { return noSystem }
  var asked = unsafe bellows_device_request()
  unsafe asked.file = -1
  unsafe withUnsafeMutableBytes(of: &asked) { memory in
    bellows_copy(UInt(bitPattern: memory.baseAddress), request, min(size, UInt(bitPattern: memory.count)))
  }
  let owner = DeviceOwner(
    context: UInt(bitPattern: unsafe asked.context),
    freed: unsafe unsafeBitCast(asked.freed, to: DeviceOwner.Freed?.self))
  var wanted = DeviceRequest(bytes: UInt(bitPattern: unsafe asked.bytes), owner: owner)
  wanted.file = unsafe asked.file
  wanted.offset = UInt(bitPattern: unsafe asked.offset)
  wanted.kind = unsafe asked.file < 0 ? .unmapped : asked.hold != 0 ? .held : .counted
  wanted.unitShift = unsafe asked.huge != 0 ? 21 : Page.shift
  wanted.isMemmapInside = unsafe asked.memmap_inside != 0
  wanted.reserveBytes = UInt(bitPattern: unsafe asked.reserve)
  return Answer.number { () throws(Refusal) in Ref<UInt>(device).it = try arena.addDevice(wanted).address }
}

@c(bw_device_units)
func deviceUnits(_ device: UInt, _ count: UInt) -> UInt {
  if count != 0 { Ref<UInt>(count).it = DeviceRef(device).units }
  return DeviceRef(device).firstUnit
}

@c(bw_device_acquire)
func deviceAcquire(_ device: UInt, _ unit: UInt) -> Int32 {
  Answer.number { () throws(Refusal) in try DeviceRef(device).acquire(unit) }
}

@c(bw_device_retain)
func deviceRetain(_ device: UInt, _ unit: UInt) -> Int32 {
  Answer.number { () throws(Refusal) in try DeviceRef(device).retain(unit) }
}

@c(bw_device_release)
func deviceRelease(_ device: UInt, _ unit: UInt) -> Int32 {
  Answer.number { () throws(Refusal) in try DeviceRef(device).release(unit) }
}

@c(bw_device_remove)
func deviceRemove(_ device: UInt, _ milliseconds: UInt32) -> Int32 {
  let record = DeviceRef(device)
  return Answer.number { () throws(Refusal) in
    try ArenaRef(record.it.arena).removeDevice(record, within: UInt64(milliseconds))
  }
}

/// Gives the functions above their names (bellows_names.h).
@c(bw_names_balloons)
func namesBalloons() { bellows_names_balloons() }
