import BellowsCore
import CShims
import SystemPackage

/// Memory in an arena that has an owner of its own: a file, a file in memory, or huge pages.
///
/// ```swift
/// let device = try arena.addDevice(.memory(.mebibytes(64))) { unit in print("free again: \(unit.start)") }
/// var unit = try device.acquire(0)
/// var bytes = unit.mutableBytes
/// bytes.storeBytes(of: 1, toByteOffset: 0, as: Int.self)
/// ```
///
/// Its pages have descriptors as others have, but belong to no zone: no allocation and no heap of the arena ever lies
/// in them. They are handed out in *units*, of a page or of 2 MiB, each with a count of references; when the last
/// reference to a unit goes, its owner is called. What was written stays, in the file and in the unit.
///
/// Linux has the same for persistent memory and for memory of accelerators (`ZONE_DEVICE`, `dev_pagemap`).
///
/// All functions may be called from any thread.
public final class DeviceMemory: Sendable {
  /// What the memory is.
  public enum Backing: Sendable {
    /// A file in memory, made for the purpose and gone with the region.
    case memory(ByteCount)
    /// The same, of huge pages of 2 MiB, which the system must have in reserve.
    case hugePages(ByteCount)
    /// A part of an open file. The descriptor is not needed any more once the region is there.
    case file(FileDescriptor, offset: ByteCount, byteCount: ByteCount)
    /// Nothing: addresses that stay inaccessible, with descriptors, for what somebody else has.
    case none(ByteCount)
  }

  /// Where the descriptors lie.
  public enum MemmapPlacement: Hashable, Sendable {
    /// In memory outside of the arena.
    case outside
    /// In the region, behind a reserve at its start that is the owner's. Then they are part of the file.
    case inside(reserve: ByteCount)
  }

  /// What may be chosen when a region is added.
  public struct Configuration: Hashable, Sendable {
    /// The section at which it starts; nil: where there is room, from the end of the arena.
    public var section: SectionIndex?
    /// Where the descriptors lie.
    public var memmap: MemmapPlacement
    /// Whether the region itself holds one reference to each unit, of which the owner is never told.
    public var holdsUnits: Bool

    /// Makes a configuration.
    public init(section: SectionIndex? = nil, memmap: MemmapPlacement = .outside, holdsUnits: Bool = false) {
      self.section = section
      self.memmap = memmap
      self.holdsUnits = holdsUnits
    }
  }

  /// The arena that the addresses are from.
  public let arena: Arena
  /// The addresses of the region.
  public let addressRange: AddressRange
  /// The length of a unit: 4 KiB, or 2 MiB of huge pages.
  public let unitSize: ByteCount
  /// The number of units.
  public let unitCount: Int

  private let core: DeviceRef
  private let firstUnit: UInt
  private let owner: DeviceOwnerBox

  fileprivate init(in arena: Arena, core: DeviceRef, owner: DeviceOwnerBox) {
    self.arena = arena
    self.core = core
    self.owner = owner
    addressRange = AddressRange(start: core.it.base, byteCount: .bytes(Int(core.it.bytes)))
    unitSize = .bytes(Int(core.unitBytes))
    unitCount = Int(core.units)
    firstUnit = core.firstUnit
  }

  // Units keep their region alive, so none is in use.
  deinit { if !owner.isRemoved.load(ordering: .acquiring) { try? arena.core.removeDevice(core, within: 0) } }

  // MARK: Units

  /// The number of units that are in use; zero once the region has been removed.
  public var usedUnitCount: Int { owner.isRemoved.load(ordering: .acquiring) ? 0 : Int(core.usedUnits) }

  /// The addresses of unit `index`. Traps where there is no such unit.
  public func addressRange(ofUnit index: Int) -> AddressRange {
    precondition(index >= 0 && index < unitCount, "no such unit")
    return AddressRange(start: firstUnit + UInt(index) * UInt(unitSize.rawValue), byteCount: unitSize)
  }

  /// Takes unit `index`, of which nobody has a reference.
  ///
  /// - Returns: The unit, whose content is as it was left.
  /// - Throws: `EBUSY` where somebody has it, `ENXIO` where the region is being removed or gone, `EINVAL` where there
  ///   is no such unit.
  /// - Complexity: O(1), without a lock.
  public func acquire(_ index: Int) throws(Errno) -> Unit {
    guard index >= 0, index < unitCount else { throw .invalidArgument }
    guard !owner.isRemoved.load(ordering: .acquiring) else { throw .noSuchAddressOrDevice }
    let range = addressRange(ofUnit: index)
    try systemError { () throws(Refusal) in try core.acquire(range.start) }
    return Unit(of: self, at: range)
  }

  /// One reference to a unit of device memory; the owner of the region is called when the last one goes.
  public struct Unit: ~Copyable, Sendable {
    /// The region that it is a unit of.
    public let device: DeviceMemory
    /// Where its bytes lie.
    public let addressRange: AddressRange

    fileprivate init(of device: DeviceMemory, at range: AddressRange) {
      self.device = device
      addressRange = range
    }

    deinit { device.release(addressRange.start) }

    /// One reference more to the same unit.
    ///
    /// - Complexity: O(1), without a lock.
    public func share() -> Unit {
      device.retain(addressRange.start)
      return Unit(of: device, at: addressRange)
    }

    /// Whether its bytes can be reached: not where the region's backing is ``Backing/none(_:)``.
    public var isAccessible: Bool { device.core.it.kind != .unmapped }

    /// The bytes, to read. Traps where they cannot be reached. Other references to the unit see the same bytes;
    /// who writes them when is a matter between their holders.
    public var bytes: RawSpan {
      @_lifetime(borrow self)
      get {
        precondition(isAccessible, "not accessible")
        let span = unsafe RawSpan(_unsafeStart: pointer, byteCount: addressRange.byteCount.rawValue)
        return unsafe _overrideLifetime(span, borrowing: self)
      }
    }

    /// The bytes, to write; as ``bytes``.
    public var mutableBytes: MutableRawSpan {
      @_lifetime(&self)
      mutating get {
        precondition(isAccessible, "not accessible")
        let span = unsafe MutableRawSpan(_unsafeStart: pointer, byteCount: addressRange.byteCount.rawValue)
        return unsafe _overrideLifetime(span, mutating: &self)
      }
    }

    private var pointer: UnsafeMutableRawPointer {
      unsafe UnsafeMutableRawPointer(bitPattern: addressRange.start).unsafelyUnwrapped
    }
  }

  private func retain(_ address: UInt) {
    do throws(Refusal) { try core.retain(address) } catch {
      preconditionFailure("a unit without a reference")
    }
  }

  private func release(_ address: UInt) {
    do throws(Refusal) { try core.release(address) } catch {
      preconditionFailure("a unit without a reference")
    }
  }

  // MARK: Removing

  /// Removes the region from the arena, once no unit is in use. From the call on, no unit is handed out.
  ///
  /// - Parameter limit: How long to wait for the references that are left.
  /// - Throws: `EBUSY` where units are in use after that time, or another thread is removing the region; `ENXIO` where it
  ///   has been removed; `ENOMEM` where the system cannot take the mapping away. The region is as it was then.
  /// - Complexity: O(bytes), for the page tables and descriptors that go.
  public func remove(within limit: Duration = .zero) throws(Errno) {
    guard !owner.isRemoved.load(ordering: .acquiring) else { throw .noSuchAddressOrDevice }
    try systemError { () throws(Refusal) in try arena.core.removeDevice(core, within: limit.milliseconds) }
    owner.isRemoved.store(true, ordering: .releasing)
  }
}

extension Arena {
  /// Adds device memory.
  ///
  /// Whole sections are taken for it: the rest of the last one stays unused. Memory can be added to the arena
  /// while the descriptors of the region are set up.
  ///
  /// - Parameters:
  ///   - backing: What the memory is, and how long: a multiple of the unit, at an offset that is one.
  ///   - configuration: Where, and how.
  ///   - onFree: Called when the last reference to a unit goes, in the thread that let go of it, with no lock held. It may
  ///     take the unit again. It must not remove the region, which would wait for it.
  /// - Returns: The region. It goes when it is removed, or with its last reference.
  /// - Throws: `EINVAL` for lengths, offsets and reserves that are no such multiples, or where the file is too short
  ///   or no unit would be left behind the descriptors; `E2BIG` beyond the end of the arena; `ENXIO` where memory has been added
  ///   at these sections; `ENOMEM` where another region lies there, no sections are free, or the system has no
  ///   memory or no huge pages; and what the system says of the file. The arena is as it was then.
  /// - Complexity: O(bytes): 64 bytes of descriptor for each 4 KiB.
  public func addDevice(
    _ backing: DeviceMemory.Backing, configuration: DeviceMemory.Configuration = .init(),
    onFree: @escaping @Sendable (_ unit: AddressRange) -> Void = { _ in }
  ) throws(Errno) -> DeviceMemory {
    let owner = DeviceOwnerBox(onFree)
    var request = DeviceRequest(bytes: 0, owner: owner.record)
    if let section = configuration.section {
      guard section.rawValue >= 0, section.rawValue < addressRange.byteCount.rawValue / sectionSize.rawValue
      else {
        throw .argListTooLong
      }
      request.place = addressRange.start + UInt(section.rawValue) * UInt(sectionSize.rawValue)
    }
    if case .inside(let reserve) = configuration.memmap {
      guard reserve >= .zero else { throw .invalidArgument }
      request.isMemmapInside = true
      request.reserveBytes = UInt(reserve.rawValue)
    }
    if configuration.holdsUnits { request.kind = .held }
    let file = try open(backing, &request)
    defer { file?.close() }
    let core = try systemError { () throws(Refusal) in try self.core.addDevice(request) }
    return DeviceMemory(in: self, core: core, owner: owner)
  }

  private var sectionSize: ByteCount { configuration.sectionSize }

  /// Enters the backing into the request; answers a file that was made for it.
  private func open(
    _ backing: DeviceMemory.Backing, _ request: inout DeviceRequest
  ) throws(Errno) -> MemoryFile? {
    switch backing {
    case .none(let byteCount):
      request.bytes = try length(byteCount)
      request.kind = .unmapped
      return nil
    case .file(let descriptor, let offset, let byteCount):
      request.bytes = try length(byteCount)
      request.offset = try length(offset)
      request.file = descriptor.rawValue
      return nil
    case .memory(let byteCount), .hugePages(let byteCount):
      request.bytes = try length(byteCount)
      var isHuge = false
      if case .hugePages = backing { isHuge = true }
      request.unitShift = isHuge ? 21 : Page.shift
      guard request.bytes.isAligned(to: 1 << request.unitShift), byteCount > .zero else {
        throw .invalidArgument
      }
      let file = try MemoryFile(request.bytes, isHuge: isHuge)
      request.file = file.descriptor
      return file
    }
  }

  private func length(_ byteCount: ByteCount) throws(Errno) -> UInt {
    guard byteCount >= .zero else { throw .invalidArgument }
    return UInt(byteCount.rawValue)
  }
}

/// Runs an operation of the engine, and throws its error number as the system's error.
func systemError<Result>(_ body: () throws(Refusal) -> Result) throws(Errno) -> Result {
  do throws(Refusal) {
    return try body()
  } catch {
    throw Errno(rawValue: error.number)
  }
}

/// A file in memory, until the region maps it.
private struct MemoryFile {
  let descriptor: Int32

  init(_ bytes: UInt, isHuge: Bool) throws(Errno) {
    let result = bellows_memory_file(bytes, isHuge)
    guard result >= 0 else { throw Errno(rawValue: -result) }
    descriptor = result
  }

  func close() { try? FileDescriptor(rawValue: descriptor).close() }
}
