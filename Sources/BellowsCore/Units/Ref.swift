// A typed address: the one place where the core turns an integer into memory.
//
// The engine's structures live in memory that it maps itself, so they are named by address, not by Swift
// object. `Ref<T>` is such a name. It is a plain integer, so it can be stored in tables and words, compared
// and passed to C; `it` reads and writes the structure in place (one instruction a field in optimised code).

/// The address of a `Pointee` in memory that the engine owns.
///
/// Copying a `Ref` copies the address. The holder answers for the memory being mapped and for the lock or
/// ownership rule that the pointee's fields state.
@safe @frozen
package struct Ref<Pointee: BitwiseCopyable>: Equatable, Sendable {
  package let address: UInt

  @inline(__always) package init(_ address: UInt) { self.address = address }

  @inline(__always) package static func == (a: Self, b: Self) -> Bool { a.address == b.address }

  /// The pointee, in place.
  package var it: Pointee {
    @inline(__always) unsafeAddress {
      unsafe UnsafePointer<Pointee>(bitPattern: address).unsafelyUnwrapped
    }
    @inline(__always) nonmutating unsafeMutableAddress {
      unsafe UnsafeMutablePointer<Pointee>(bitPattern: address).unsafelyUnwrapped
    }
  }
}
