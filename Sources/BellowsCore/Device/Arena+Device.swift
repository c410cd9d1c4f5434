// A device region comes into an arena and goes.
//
// Add, in this order; a step that fails undoes those before it, the last first:
//
//   growth lock   claim       sections that nobody has, their records, their entries of the table
//                 descriptors room for the memmap
//                 map         the file over the addresses
//   no lock       populate    the memmap, so that a lack of memory is an error here and not a fault later
//                 initialise  one descriptor after the other: the long part
//   growth lock   publish     the table leads to the descriptors
//
// Whole sections are claimed, so that one entry of the table leads to one memmap. Removal is the same backwards, once
// no unit is in use.

import CShims

/// A device region that is asked for.
package struct DeviceRequest: BitwiseCopyable, Sendable {
  package var bytes: UInt
  /// A multiple of the section size in the arena's reservation; 0: wherever there is room, from its end.
  package var place: UInt = 0
  package var kind: DeviceKind = .counted
  /// The open file; -1 for a region that is not mapped.
  package var file: Int32 = -1
  package var offset: UInt = 0
  /// 12, or 21 for huge pages.
  package var unitShift: UInt = Page.shift
  /// Whether the descriptors lie in the region itself, behind `reserveBytes` that the owner keeps.
  package var isMemmapInside = false
  package var reserveBytes: UInt = 0
  package var owner: DeviceOwner

  package init(bytes: UInt, owner: DeviceOwner) {
    self.bytes = bytes
    self.owner = owner
  }
}

extension Ref where Pointee == Arena {
  /// Adds a device region. No unit of it is in use.
  ///
  /// EINVAL: a length, offset or unit that is no multiple of what it must be, a reserve without a memmap inside, no room
  /// for a unit behind the memmap, or a file that is too short. E2BIG: outside of the reservation, or larger. ENXIO:
  /// memory of the arena lies there. ENOMEM: another device's region lies there, or the system has no memory. And what the
  /// system says of the file. Then nothing has changed. Takes the growth lock, not while descriptors are set up.
  package func addDevice(_ request: DeviceRequest) throws(Refusal) -> DeviceRef {
    let head = try headBytes(request)
    if request.kind != .unmapped { try checkFile(request) }
    growth.acquire()
    let device: DeviceRef
    do throws(Refusal) {
      device = try claim(request, head)
    } catch {
      growth.release()
      throw error
    }
    growth.release()
    let memmapBytes = request.bytes &>> Page.shift &* Page.descriptorBytes
    if case .failure(let reason) = it.platform.perform(
      .populate, device.it.memmap, memmapBytes.rounded(upTo: Page.bytes))
    {
      withdraw(device)
      throw Refusal(reason)
    }
    initialise(device)
    growth.acquire()
    forEachSection(device) { section, _ in it.table.set(section.it.base, memmap: section.it.memmap) }
    growth.release()
    return device
  }

  /// Takes a device region out, once no unit of it is in use. The file keeps what was written.
  ///
  /// EBUSY: units are in use after `milliseconds`, or another thread is removing it. ENOMEM: the system cannot
  /// take the mapping away. Then the region is as it was. `device` leads nowhere after success.
  package func removeDevice(_ device: DeviceRef, within milliseconds: UInt64) throws(Refusal) {
    try device.close(within: milliseconds)
    growth.acquire()
    defer { growth.release() }
    forEachSection(device) { section, _ in it.table.set(section.it.base, memmap: 0) }
    if case .failure(let reason) = unmap(device) {
      forEachSection(device) { section, _ in it.table.set(section.it.base, memmap: section.it.memmap) }
      device.reopen()
      throw Refusal(reason)
    }
    forget(device)
  }

  /// Drops one reference to each unit of a run of pages: what free is for an address of a device. The buddy has no
  /// part in it. EINVAL as `release`.
  package func releaseDevicePages(_ device: DeviceRef, address: UInt, bytes: UInt) throws(Refusal) {
    var unit = address
    while unit < address &+ bytes {
      try device.release(unit)
      unit = unit &+ device.unitBytes
    }
  }

  /// The device region that holds `address`, or nil.
  package func device(at address: UInt) -> DeviceRef? {
    guard let section = section(at: address), section.it.state == .device else { return nil }
    let device = DeviceRef(section.it.zone)
    return device.contains(address) ? device : nil
  }

  // MARK: Checks

  /// Bytes before the first unit.
  private func headBytes(_ request: DeviceRequest) throws(Refusal) -> UInt {
    let unit: UInt = 1 &<< request.unitShift
    guard request.unitShift == Page.shift || request.unitShift == 21 else { throw .invalid }
    guard request.bytes != 0, request.bytes.isAligned(to: unit), request.offset.isAligned(to: unit),
      request.reserveBytes.isAligned(to: Page.bytes)
    else { throw .invalid }
    guard request.bytes <= 1 &<< Arena.addressBits else { throw .tooBig }
    guard request.isMemmapInside else {
      guard request.reserveBytes == 0 else { throw .invalid }
      return 0
    }
    // Nothing can be written where nothing is mapped.
    guard request.kind != .unmapped else { throw .invalid }
    // Descriptors of whole sections: an address behind the region's end, in its last section, has one too, and that
    // must not be memory that the owner's users write.
    let sections = (request.bytes &+ (it.geometry.sectionBytes &- 1)) &>> it.geometry.sectionShift
    let head = (request.reserveBytes &+ sections &* it.geometry.memmapBytes).rounded(upTo: unit)
    guard request.reserveBytes < request.bytes, head < request.bytes else { throw .invalid }
    return head
  }

  private func checkFile(_ request: DeviceRequest) throws(Refusal) {
    guard request.file >= 0 else { throw .invalid }
    let file = UInt(truncatingIfNeeded: UInt32(bitPattern: request.file))
    switch it.platform.perform(.fileBytes, file, 0) {
    case .failure(let reason): throw Refusal(reason)
    case .success(let length):
      // Beyond the end of a file an access would be a bus error.
      guard request.offset <= length, length &- request.offset >= request.bytes else { throw .invalid }
    }
  }

  // MARK: Steps

  /// Under the growth lock.
  private func claim(_ request: DeviceRequest, _ head: UInt) throws(Refusal) -> DeviceRef {
    let sections = (request.bytes &+ (it.geometry.sectionBytes &- 1)) &>> it.geometry.sectionShift
    let base = try place(request, sections)
    let span = sections &<< it.geometry.sectionShift
    guard let first = enterRecords(base, sections) else {
      leave(base, span)
      throw .noMemory
    }
    var memmap = base &+ request.reserveBytes
    let descriptors = sections &* it.geometry.memmapBytes
    if !request.isMemmapInside {
      guard let room = it.platform.address(.reserve, 0, descriptors) else {
        leave(base, span)
        throw .noMemory
      }
      memmap = room
      guard it.platform.attempt(.commit, room, descriptors) else {
        it.platform.attempt(.release, room, descriptors)
        leave(base, span)
        throw .noMemory
      }
    }
    if request.kind != .unmapped {
      let file = UInt(truncatingIfNeeded: UInt32(bitPattern: request.file))
      if case .failure(let reason) = it.platform.perform(.mapFile, base, request.bytes, file, request.offset)
      {
        if !request.isMemmapInside { it.platform.attempt(.release, memmap, descriptors) }
        leave(base, span)
        throw Refusal(reason)
      }
    }
    let device = DeviceRef(first.address &+ Section.headerBytes)
    device.it = DeviceRegion(
      uses: 0, arena: address, base: base, bytes: request.bytes, sections: sections, memmap: memmap,
      headBytes: head, reserveBytes: request.reserveBytes, unitShift: request.unitShift, kind: request.kind,
      isMemmapInside: request.isMemmapInside, owner: request.owner, initialisedPages: 0)
    forEachSection(device) { section, index in
      section.it.base = base &+ index &<< it.geometry.sectionShift
      section.it.arena = address
      section.it.memmap = memmap &+ index &* it.geometry.memmapBytes
      section.it.blocks = UInt16(truncatingIfNeeded: it.geometry.pageblocksPerSection)
      section.it.zone = device.address
      section.move(to: .device)
    }
    return device
  }

  /// Addresses for so many sections. Under the growth lock.
  private func place(_ request: DeviceRequest, _ sections: UInt) throws(Refusal) -> UInt {
    let span = sections &<< it.geometry.sectionShift
    if it.capacity == 0 {
      guard request.place == 0 else { throw .tooBig }
      guard let base = it.platform.reserve(span, alignment: it.geometry.sectionBytes) else { throw .noMemory }
      return base
    }
    guard span <= it.capacity else { throw .tooBig }
    if request.place != 0 {
      guard request.place.isAligned(to: it.geometry.sectionBytes) else { throw .invalid }
      let offset = request.place &- it.reservation
      guard offset < it.capacity, it.capacity &- offset >= span else { throw .tooBig }
      var address = request.place
      while address < request.place &+ span {
        if let other = section(at: address), other.it.state != .absent {
          throw other.it.state == .device ? .noMemory : .noDevice
        }
        address = address &+ it.geometry.sectionBytes
      }
      return request.place
    }
    // From the end, since memory is added from the start.
    var run: UInt = 0
    var address = it.reservation &+ it.capacity
    while address > it.reservation {
      address = address &- it.geometry.sectionBytes
      run = section(at: address).map { $0.it.state == .absent } ?? true ? run &+ 1 : 0
      if run == sections { return address }
    }
    throw .noMemory
  }

  /// Records and writable entries of the table for the sections from `base`: the first record. Under the growth lock.
  private func enterRecords(_ base: UInt, _ sections: UInt) -> SectionRef? {
    guard base &- it.table.origin < it.table.limit &<< it.geometry.sectionShift else { return nil }
    var index: UInt = 0
    while index < sections {
      let start = base &+ index &<< it.geometry.sectionShift
      guard enterRecord(start) != nil, it.table.prepare(start, platform: it.platform) else { return nil }
      index = index &+ 1
    }
    return knownSection(at: base)
  }

  /// Sets the descriptors up. Without a lock: 16 MiB of them for 1 GiB.
  private func initialise(_ device: DeviceRef) {
    let references = device.it.kind.baseReferences
    let pages = device.it.bytes &>> Page.shift
    for page in 0..<pages {
      let descriptor = PageDescriptorRef(device.it.memmap &+ page &* Page.descriptorBytes)
      descriptor.it = PageDescriptor(
        word: GranuleWord.device.bits, owner: device.address, references: references)
    }
    device.it.initialisedPages = pages
  }

  // MARK: Undoing

  /// Takes back what `claim` did.
  private func withdraw(_ device: DeviceRef) {
    growth.acquire()
    defer { growth.release() }
    unmap(device)
    forget(device)
  }

  /// The addresses become inaccessible, and free for others. Under the growth lock.
  @discardableResult
  private func unmap(_ device: DeviceRef) -> SystemResult {
    let span = device.it.sections &<< it.geometry.sectionShift
    guard it.capacity != 0 else { return it.platform.perform(.release, device.it.base, span) }
    guard device.it.kind != .unmapped else { return .success(0) }
    return it.platform.perform(.reset, device.it.base, span)
  }

  /// Addresses that nothing has been mapped over. Under the growth lock.
  private func leave(_ base: UInt, _ span: UInt) {
    if it.capacity == 0 { it.platform.attempt(.release, base, span) }
  }

  /// Descriptors and records go. Under the growth lock.
  private func forget(_ device: DeviceRef) {
    // Its place is free for sections again.
    it.lowestAbsent = min(it.lowestAbsent, (device.it.base &- it.table.origin) &>> it.geometry.sectionShift)
    let region = device.it
    if !region.isMemmapInside {
      it.platform.attempt(.release, region.memmap, region.sections &* it.geometry.memmapBytes)
    }
    for index in 0..<region.sections {
      let section = knownSection(at: region.base &+ index &<< it.geometry.sectionShift)
      section.move(to: .absent)
      clearRecords(section.address)
    }
  }

  private func forEachSection(_ device: DeviceRef, _ body: (SectionRef, UInt) -> Void) {
    for index in 0..<device.it.sections {
      body(knownSection(at: device.it.base &+ index &<< it.geometry.sectionShift), index)
    }
  }
}
