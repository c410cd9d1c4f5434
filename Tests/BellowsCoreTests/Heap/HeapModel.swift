// Random operations of one thread, checked against the blocks that should be live.

import BellowsCore

struct HeapModel {
  let user: HeapUser
  let largest: UInt
  private var random: Random
  private var live: [Block] = []
  private var step = 0

  init(_ user: HeapUser, stream: UInt64, largest: UInt) {
    self.user = user
    self.largest = largest
    random = Random(stream: stream)
  }

  private func note(_ what: String) -> String { "\(what), step \(step)" }

  mutating func takeStep() throws {
    step += 1
    // The number of live blocks swings between a few and two thousand.
    let target = (step >> 12) & 1 == 0 ? 2000 : 50
    if live.count < target ? random.below(8) < 5 : random.below(8) < 3 {
      try allocate()
    } else if random.chance(oneIn: 12) {
      try resize()
    } else {
      try freeOne()
    }
    if random.chance(oneIn: 20_000) { user.heap.trim(user.own) }
  }

  /// Mostly small, as programs are; a large one now and then.
  private mutating func size() -> UInt {
    switch random.below(256) {
    case 0: random.spread(1...largest)
    case 1..<6: random.spread(1...100_000)
    default: random.spread(0...2000)
    }
  }

  private mutating func allocate() throws {
    let bytes = size()
    var alignment: UInt = 16
    let address: UInt
    switch random.below(16) {
    case 0:
      alignment = 1 << random.below(17)
      address = user.aligned(bytes, alignment)
    case 1:
      address = user.calloc(bytes)
      if address != 0, bytes >= 8 {
        try check(Ref<UInt>(address).it == 0 && Ref<UInt8>(address + bytes - 1).it == 0, note("zero"))
      }
    default: address = user.malloc(bytes)
    }
    try check(address != 0, note("\(bytes) bytes"))
    try check(!user.heap.it.arena.isOutOfCirculation(address), note("\(bytes) bytes in a cage"))
    try check(address.isAligned(to: alignment), note("\(bytes) bytes at \(alignment)"))
    let block = Block(address: address, bytes: bytes, cookie: UInt8(truncatingIfNeeded: random.next()))
    block.fill()
    live.append(block)
  }

  private mutating func takeOne() -> Block? {
    guard !live.isEmpty else { return nil }
    let place = Int(random.below(UInt(live.count)))
    let block = live[place]
    live[place] = live[live.count - 1]
    live.removeLast()
    return block
  }

  private mutating func resize() throws {
    guard var block = takeOne() else { return }
    let bytes = max(size(), 1)
    let moved = user.realloc(block.address, bytes)
    try check(moved != 0, note("realloc to \(bytes)"))
    block.address = moved
    try check(block.isIntact(min(block.bytes, bytes)), note("content after realloc to \(bytes)"))
    block.bytes = bytes
    block.fill()
    live.append(block)
  }

  private mutating func freeOne() throws {
    guard let block = takeOne() else { return }
    try check(block.isIntact, note("content of \(block.bytes) bytes"))
    user.free(block.address)
  }

  mutating func freeAll() throws { while !live.isEmpty { try freeOne() } }
}
