// The checking mode: one bit for every 16 bytes of a shard, set while a block that starts there is live.
//
// The bits lie in lines 2 and 3 of each granule's four descriptors: 128 bytes, 1024 bits, exactly 16 KiB. They
// are exact, so every double free, every pointer into the middle of a block and every wrong size is found.
// A thread's hit paths are switched off in this mode, so they pay nothing for it.

import CShims

extension Ref where Pointee == Heap {
  /// The word of the object map that holds the bit for `block`, and the bit.
  private func objectBit(_ block: UInt) -> (word: UInt, bit: UInt64) {
    let place = (block & (Page.granuleBytes &- 1)) &>> 4
    let map = granule(of: block) &+ 2 &* Page.descriptorBytes
    return (map &+ (place &>> 6) &* 8, 1 &<< UInt64(truncatingIfNeeded: place & 63))
  }

  func clearObjectMap(_ start: UInt, _ pages: UInt) {
    var address = start
    while address < start &+ pages &<< Page.shift {
      bellows_zero(granule(of: address) &+ 2 &* Page.descriptorBytes, 2 &* Page.descriptorBytes)
      address = address &+ Page.granuleBytes
    }
  }

  /// Notes that `block` is handed out.
  package func noteLive(_ block: UInt) {
    let place = objectBit(block)
    _ = bellows_fetch_or(place.word, place.bit)
  }

  /// Whether `block` is a live block of a shard. Checking mode only.
  package func isLive(_ block: UInt) -> Bool {
    let place = objectBit(block)
    return block.isAligned(to: 16) && bellows_load(place.word) & UInt(place.bit) != 0
  }

  /// Reports and aborts unless `block` is a live block of `shard`; then notes that it is not any more.
  package func checkFree(_ block: UInt, _ shard: ShardRef) {
    checkPlace(block, shard, "free")
    let place = objectBit(block)
    if bellows_fetch_and(place.word, ~place.bit) & place.bit == 0 { fault("free", block, "double free") }
  }

  package func checkLive(_ block: UInt, _ shard: ShardRef, _ function: StaticString) {
    checkPlace(block, shard, function)
    if !isLive(block) { fault(function, block, "use of a freed block") }
  }

  private func checkPlace(_ block: UInt, _ shard: ShardRef, _ function: StaticString) {
    let bytes = shard.sizeClass.bytes
    let offset = block &- shard.it.base
    if offset >= bytes &* UInt(shard.it.total) || offset % bytes != 0 {
      fault(function, block, "interior pointer: no block starts here")
    }
  }

  /// Reports and aborts if a block that was asked for with `bytes` and `alignment` cannot be `block`.
  package func checkSize(_ block: UInt, bytes: UInt, alignment: UInt, _ function: StaticString) {
    guard let shard = shard(of: block) else {
      // A run may be up to an eighth longer than asked for (the thread's cache), a huge block is exact.
      let usable = usableBytes(block, function)
      if bytes > usable || (bytes < usable &- usable &>> 2 && usable > SizeClass.largestBytes &* 2) {
        fault(function, block, "wrong size")
      }
      return
    }
    let expected =
      alignment <= 16
      ? (bytes <= SizeClass.largestBytes ? SizeClass(bytes: bytes) : nil)
      : SizeClass(bytes: bytes, alignment: alignment)
    if expected != shard.sizeClass { fault(function, block, "wrong size") }
  }
}
