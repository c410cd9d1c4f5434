// The dynamic symbols of an ELF image in the memory of another process. Everything read is checked before it is used:
// the process may be anybody's, and root may look at it.

/// The symbol table of one loaded image.
struct ImageSymbols {
  private let memory: TargetMemory
  private let base: UInt
  private var symbols: UInt = 0
  private var names: UInt = 0
  private var hash: UInt = 0

  /// Reads the dynamic section of the image at `base`; nil where there is no 64-bit image with a GNU hash table.
  init?(memory: TargetMemory, base: UInt) throws(TargetError) {
    self.memory = memory
    self.base = base
    guard let start = try? memory.bytes(at: base, count: 64) else {
      // The first page of a mapping may lie behind the end of a shortened file. But a refusal concerns all images.
      _ = try Self.permitted(memory, base)
      return nil
    }
    guard start[0..<6] == [0x7f, 0x45, 0x4c, 0x46, 2, 1] else { return nil }
    let offset = TargetMemory.value(UInt64.self, in: start, at: 32)
    let entry = TargetMemory.value(UInt16.self, in: start, at: 54)
    let count = TargetMemory.value(UInt16.self, in: start, at: 56)
    guard entry == 56, count <= 128, offset < 1 << 20,
      let headers = try? memory.bytes(at: base &+ UInt(offset), count: Int(count) * 56)
    else { return nil }
    var first: UInt?
    var dynamic: (address: UInt, bytes: Int)?
    for place in stride(from: 0, to: headers.count, by: 56) {
      let kind = TargetMemory.value(UInt32.self, in: headers, at: place)
      let address = UInt(TargetMemory.value(UInt64.self, in: headers, at: place + 16))
      if kind == 1, first == nil { first = address & ~4095 }
      if kind == 2 {
        let bytes = TargetMemory.value(UInt64.self, in: headers, at: place + 40)
        dynamic = (address, Int(min(bytes, 16384)))
      }
    }
    guard let first, let dynamic else { return nil }
    let bias = base &- first
    guard let entries = try? memory.bytes(at: bias &+ dynamic.address, count: dynamic.bytes & ~15) else {
      return nil
    }
    for place in stride(from: 0, to: entries.count, by: 16) {
      let tag = TargetMemory.value(UInt64.self, in: entries, at: place)
      let value = UInt(TargetMemory.value(UInt64.self, in: entries, at: place + 8))
      // glibc writes addresses into the image where the file has offsets; musl and the kernel's own do not.
      let address = value < base ? bias &+ value : value
      switch tag {
      case 5: names = address
      case 6: symbols = address
      case 0x6fff_fef5: hash = address
      default: break
      }
    }
    guard names != 0, symbols != 0, hash != 0 else { return nil }
  }

  private static func permitted(_ memory: TargetMemory, _ base: UInt) throws(TargetError) -> Bool {
    do throws(TargetError) { _ = try memory.bytes(at: base, count: 1) } catch {
      if case .damaged = error { return false }
      throw error
    }
    return true
  }

  /// Returns the address of a symbol that the image defines, or nil.
  func address(of name: String) throws(TargetError) -> UInt? {
    // DT_GNU_HASH: buckets, symbol offset, words of the Bloom filter, its shift; filter; buckets; chain.
    guard let start = try? memory.bytes(at: hash, count: 16) else { return nil }
    let buckets = TargetMemory.value(UInt32.self, in: start, at: 0)
    let offset = TargetMemory.value(UInt32.self, in: start, at: 4)
    let filter = TargetMemory.value(UInt32.self, in: start, at: 8)
    guard buckets > 0, buckets < 1 << 24, filter < 1 << 24 else { return nil }
    let wanted = name.utf8.reduce(UInt32(5381)) { $0 &* 33 &+ UInt32($1) }
    let table = hash &+ 16 &+ UInt(filter) &* 8
    guard let cell = try? memory.bytes(at: table &+ UInt(wanted % buckets) &* 4, count: 4) else { return nil }
    var index = TargetMemory.value(UInt32.self, in: cell, at: 0)
    guard index >= offset else { return nil }
    let chain = table &+ UInt(buckets) &* 4
    for _ in 0..<4096 {
      guard let link = try? memory.bytes(at: chain &+ UInt(index &- offset) &* 4, count: 4) else {
        return nil
      }
      let word = TargetMemory.value(UInt32.self, in: link, at: 0)
      if word | 1 == wanted | 1, let address = symbol(index, named: name) { return address }
      if word & 1 != 0 { return nil }
      index &+= 1
    }
    return nil
  }

  private func symbol(_ index: UInt32, named name: String) -> UInt? {
    let bytes = Array(name.utf8) + [0]
    guard let entry = try? memory.bytes(at: symbols &+ UInt(index) &* 24, count: 24),
      TargetMemory.value(UInt16.self, in: entry, at: 6) != 0
    else { return nil }
    let text = names &+ UInt(TargetMemory.value(UInt32.self, in: entry, at: 0))
    guard let found = try? memory.bytes(at: text, count: bytes.count), found == bytes else { return nil }
    return base &+ UInt(TargetMemory.value(UInt64.self, in: entry, at: 8))
  }
}
