// The memory of another process, by process_vm_readv. One system call a read; no descriptor, no signal, nothing in the
// process takes part.

import Bellows
import CShims
import Glibc
import SystemPackage

/// Reads from the memory of a process.
struct TargetMemory {
  let process: Int32
  /// The number that system calls know it by.
  private let number: Int32

  init(process: Int32) throws(TargetError) {
    self.process = process
    number = try ProcView.callNumber(of: process)
  }

  /// Copies bytes; all of them must be mapped.
  func bytes(at address: UInt, count: Int) throws(TargetError) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: count)
    let code = unsafe result.withUnsafeMutableBytes { room in
      bellows_peek(number, address, UInt(bitPattern: room.baseAddress), UInt(room.count))
    }
    try check(code, address)
    return result
  }

  /// Copies bytes and tells whether a count of changes was even and the same before and after.
  func settledBytes(at address: UInt, count: Int, changes word: UInt) throws(TargetError) -> [UInt8]? {
    var result = [UInt8](repeating: 0, count: count)
    var before: UInt64 = 0
    var after: UInt64 = 0
    let code = unsafe result.withUnsafeMutableBytes { room in
      unsafe bellows_peek_between(
        number, word, &before, &after, address, UInt(bitPattern: room.baseAddress), UInt(room.count))
    }
    try check(code, address)
    return before >> 32 == after >> 32 && before >> 32 & 1 == 0 ? result : nil
  }

  /// Copies a record.
  func value<T: BitwiseCopyable>(_ type: T.Type, at address: UInt) throws(TargetError) -> T {
    Self.value(type, in: try bytes(at: address, count: MemoryLayout<T>.size), at: 0)
  }

  /// Copies a row of words.
  func words(at address: UInt, count: Int) throws(TargetError) -> [UInt] {
    let bytes = try bytes(at: address, count: count * 8)
    return (0..<count).map { Self.value(UInt.self, in: bytes, at: $0 * 8) }
  }

  /// Returns the record at an offset of bytes that were copied.
  static func value<T: BitwiseCopyable>(_ type: T.Type, in bytes: [UInt8], at offset: Int) -> T {
    precondition(offset >= 0 && offset + MemoryLayout<T>.size <= bytes.count)
    // Not RawSpan: a struct's size may end before its stride, and so may the copy.
    return unsafe withUnsafeTemporaryAllocation(of: T.self, capacity: 1) { room in
      unsafe bytes.withUnsafeBytes { source in
        let target = UnsafeMutableRawBufferPointer(room)
        unsafe target.copyMemory(
          from: UnsafeRawBufferPointer(rebasing: source[offset..<offset + MemoryLayout<T>.size]))
      }
      return unsafe room[0]
    }
  }

  private func check(_ code: Int32, _ address: UInt) throws(TargetError) {
    switch Errno(rawValue: code) {
    case Errno(rawValue: 0): return
    case .noSuchProcess: throw .ended(process)
    case .notPermitted, .permissionDenied: throw .notPermitted(process, reason: Self.refusal(process))
    case .badAddress: throw .damaged(process, what: "nothing is mapped at 0x\(String(address, radix: 16))")
    case let other: throw .system(other, doing: "cannot read the memory of process \(process)")
    }
  }

  /// Tells why the kernel refuses, as far as one can see from here.
  static func refusal(_ process: Int32, files: SystemFiles = SystemFiles(), user: uid_t = geteuid()) -> String
  {
    if !ProcView.isThere, user != 0 {
      return "it is another user's, or the kernel protects it. Run this as root"
    }
    var status = stat()
    if unsafe stat("/proc/\(process)", &status) == 0, status.st_uid != user, user != 0 {
      let owner = unsafe getpwuid(status.st_uid)
      let name =
        unsafe owner.map { unsafe String(cString: $0.pointee.pw_name) } ?? "user \(status.st_uid)"
      return "it belongs to \(name). Ask its user or root"
    }
    if let scope = files.integer("proc/sys/kernel/yama/ptrace_scope"), scope > 0 {
      return scope >= 3
        ? "this system forbids it to everybody (kernel.yama.ptrace_scope is 3)"
        : """
        this system lets only a parent look into a process (kernel.yama.ptrace_scope is \(scope)).
        Run this as root, or allow it: sysctl kernel.yama.ptrace_scope=0
        """
    }
    if user == 0 { return "a security module or the container that this runs in forbids it" }
    return """
      the kernel protects it, although it is yours: it changed its user, carries capabilities, or is not dumpable.
      Run this as root
      """
  }
}
