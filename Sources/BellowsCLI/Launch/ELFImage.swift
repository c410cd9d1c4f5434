// The little of an ELF file that decides whether the dynamic loader can put it before a program: class, machine, kind,
// which loader it names. Only headers are read; damaged files give an error and never a trap.

import SystemPackage

/// The headers of an ELF file.
struct ELFImage: Equatable {
  /// What a file can be instead of a readable ELF file.
  enum Problem: Error, Equatable {
    /// The file cannot be read.
    case unreadable(Errno)
    /// The file does not begin as an ELF file does.
    case notELF
    /// The headers point outside of the file or make no sense.
    case damaged
  }

  /// The instruction set and word size that a file is for.
  struct Target: Equatable {
    /// `EI_CLASS`: 1 for 32 bits, 2 for 64.
    let wordClass: UInt8
    /// `e_machine`.
    let machine: UInt16

    /// What this tool itself is built for.
    static var own: Target {
      #if arch(x86_64)
      Target(wordClass: 2, machine: 62)
      #elseif arch(arm64)
      Target(wordClass: 2, machine: 183)
      #elseif arch(riscv64)
      Target(wordClass: 2, machine: 243)
      #endif
    }

    /// The target in words, for example `64-bit x86-64`.
    var name: String { "\(wordClass == 1 ? "32" : "64")-bit \(machineName)" }

    /// The instruction set, for example `x86-64`.
    var machineName: String {
      let names: [UInt16: String] = [
        3: "x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC", 22: "S/390", 40: "ARM", 62: "x86-64",
        183: "AArch64",
        243: "RISC-V", 258: "LoongArch",
      ]
      return names[machine] ?? "machine \(machine)"
    }
  }

  /// What the file is for.
  let target: Target
  /// Whether it is a shared object: neither a program at a fixed address nor a position-independent one.
  let isSharedObject: Bool
  /// The dynamic loader that it names; nil for a static program, and for most libraries.
  let loader: String?

  /// Reads the headers of a file.
  init(reading path: FilePath) throws(Problem) {
    let file: FileDescriptor
    do { file = try .open(path, .readOnly, options: .closeOnExec) } catch {
      throw .unreadable(error as? Errno ?? .ioError)
    }
    defer { try? file.close() }
    let start = try Self.bytes(file, at: 0, count: 64)
    guard start.count >= 52, start[0..<4] == [0x7f, 0x45, 0x4c, 0x46] else { throw .notELF }
    let wide = start[4] == 2
    guard wide || start[4] == 1, start[5] == 1 || start[5] == 2, !wide || start.count == 64 else {
      throw .damaged
    }
    let fields = Fields(bytes: start, wide: wide, bigEndian: start[5] == 2)
    target = Target(wordClass: start[4], machine: UInt16(fields.value(at: 18, size: 2)))

    // Program headers: where they are, how large one is, how many there are.
    let (offset, entry, count) =
      wide
      ? (fields.value(at: 32, size: 8), fields.value(at: 54, size: 2), fields.value(at: 56, size: 2))
      : (fields.value(at: 28, size: 4), fields.value(at: 42, size: 2), fields.value(at: 44, size: 2))
    guard entry >= (wide ? 56 : 32), count <= 4096 else { throw .damaged }
    let table = try Self.bytes(file, at: offset, count: entry * count)
    guard table.count == entry * count else { throw .damaged }
    let headers = Fields(bytes: table, wide: wide, bigEndian: fields.bigEndian)

    var loader: String?
    var isProgram = fields.value(at: 16, size: 2) != 3  // ET_DYN
    for base in stride(from: 0, to: table.count, by: entry) {
      let kind = headers.value(at: base, size: 4)
      let place = headers.word(at: base + (wide ? 8 : 4))
      let length = headers.word(at: base + (wide ? 32 : 16))
      if kind == 3 {  // PT_INTERP
        let name = try Self.bytes(file, at: place, count: min(length, 4096))
        loader = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
      } else if kind == 2 {  // PT_DYNAMIC
        let dynamic = Fields(
          bytes: try Self.bytes(file, at: place, count: min(length, 1 << 16)), wide: wide,
          bigEndian: fields.bigEndian)
        // DT_FLAGS_1 with DF_1_PIE: a program, though its type says shared object.
        if (dynamic.entry(0x6fff_fffb) ?? 0) & 0x0800_0000 != 0 { isProgram = true }
      }
    }
    self.loader = loader
    isSharedObject = !isProgram
  }

  /// Reads up to `count` bytes; fewer at the end of the file.
  private static func bytes(_ file: FileDescriptor, at offset: Int, count: Int) throws(Problem) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    do {
      let got = try unsafe bytes.withUnsafeMutableBytes {
        unsafe try file.read(fromAbsoluteOffset: Int64(offset), into: $0)
      }
      return Array(bytes.prefix(got))
    } catch {
      throw .unreadable(error as? Errno ?? .ioError)
    }
  }

  /// Numbers in the byte order and word size of the file; what lies outside reads as 0.
  private struct Fields {
    let bytes: [UInt8]
    let wide: Bool
    let bigEndian: Bool

    func value(at offset: Int, size: Int) -> Int {
      guard offset >= 0, offset + size <= bytes.count else { return 0 }
      let part = bytes[offset..<offset + size]
      let number = (bigEndian ? Array(part) : part.reversed()).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      return Int(clamping: number)
    }

    func word(at offset: Int) -> Int { value(at: offset, size: wide ? 8 : 4) }

    /// Returns the value of an entry of the dynamic section.
    func entry(_ tag: Int) -> Int? {
      let size = wide ? 8 : 4
      for base in stride(from: 0, to: bytes.count - 2 * size + 1, by: 2 * size) where word(at: base) == tag {
        return word(at: base + size)
      }
      return nil
    }
  }
}
