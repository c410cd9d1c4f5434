// A line of text, built without allocation and written in one system call.

import CShims

package struct Line: ~Copyable {
  private var text: InlineArray<512, UInt8>
  private var count: Int

  package init() {
    text = InlineArray(repeating: 0)
    count = 0
  }

  private mutating func append(byte: UInt8) {
    guard count < 511 else { return }
    text[count] = byte
    count &+= 1
  }

  package mutating func append(_ words: StaticString) {
    for index in 0..<words.utf8CodeUnitCount { append(byte: unsafe words.utf8Start[index]) }
  }

  /// The bytes of a C string at an address, up to 64 of them.
  package mutating func append(cString address: UInt) {
    var place = address
    for _ in 0..<64 {
      let byte = Ref<UInt8>(place).it
      if byte == 0 { return }
      append(byte: byte)
      place = place &+ 1
    }
  }

  package mutating func append(hex value: UInt) {
    append("0x")
    var shift: UInt = 60
    while shift > 0, value &>> shift == 0 { shift = shift &- 4 }
    while true {
      let digit = UInt8(truncatingIfNeeded: value &>> shift & 15)
      append(byte: digit < 10 ? 48 &+ digit : 87 &+ digit)
      if shift == 0 { return }
      shift = shift &- 4
    }
  }

  package mutating func append(_ value: UInt) {
    var divisor: UInt = 1
    while value / divisor >= 10 { divisor = divisor &* 10 }
    while divisor > 0 {
      append(byte: 48 &+ UInt8(truncatingIfNeeded: value / divisor % 10))
      divisor = divisor / 10
    }
  }

  /// A number with zeros in front of it up to `digits` digits.
  package mutating func append(_ value: UInt, digits: Int) {
    var place = digits &- 1
    while place >= 0 {
      var digit = value
      for _ in 0..<place { digit = digit / 10 }
      append(byte: 48 &+ UInt8(truncatingIfNeeded: digit % 10))
      place = place &- 1
    }
  }

  /// Writes the line, with a line feed, to standard error.
  package mutating func write() { write { bellows_write(2, $0, $1) } }

  /// Hands the line, with a line feed, to `sink` as an address and a length; the line is empty afterwards.
  package mutating func write(_ sink: (UInt, UInt) -> Void) {
    text[count] = 10
    let length = UInt(bitPattern: count &+ 1)
    unsafe withUnsafePointer(to: &text) { pointer in
      sink(UInt(bitPattern: unsafe UnsafeRawPointer(pointer)), length)
    }
    count = 0
  }
}
