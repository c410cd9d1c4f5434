// What the engine knows the owner of a region by: the address of this object.

import BellowsCore
import Synchronization

final class DeviceOwnerBox: Sendable {
  private let onFree: @Sendable (AddressRange) -> Void
  /// The region's record is not to be looked at any more.
  let isRemoved = Atomic(false)

  init(_ onFree: @escaping @Sendable (AddressRange) -> Void) { self.onFree = onFree }

  /// For the time that the object lives.
  var record: DeviceOwner {
    let context = unsafe UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
    return DeviceOwner(context: context) { context, address, bytes in
      guard let raw = unsafe UnsafeRawPointer(bitPattern: context) else { return }
      let box = unsafe Unmanaged<DeviceOwnerBox>.fromOpaque(raw).takeUnretainedValue()
      box.onFree(AddressRange(start: address, byteCount: .bytes(Int(bytes))))
    }
  }
}
