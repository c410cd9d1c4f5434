// Why a change of memory did not happen, in the system's own words.

/// What an operation of the engine throws: an error number of the system's.
package struct Refusal: Error, Hashable, BitwiseCopyable, Sendable {
  package let number: Int32
  package init(_ number: Int32) { self.number = number }

  /// EPERM: an observer says no and gives no reason.
  package static var notPermitted: Self { Self(1) }
  /// EINTR: the caller asked to stop.
  package static var interrupted: Self { Self(4) }
  /// ENXIO: the range belongs to something else, or what it belonged to is going away.
  package static var noDevice: Self { Self(6) }
  /// E2BIG: outside of the reservation.
  package static var tooBig: Self { Self(7) }
  /// EAGAIN: the target has changed; try again at once.
  package static var again: Self { Self(11) }
  /// ENOMEM: descriptors, records or memory are not to be had.
  package static var noMemory: Self { Self(12) }
  /// EBUSY: in use.
  package static var busy: Self { Self(16) }
  /// EEXIST: there already.
  package static var exists: Self { Self(17) }
  /// EINVAL: misaligned, empty, or not such a thing.
  package static var invalid: Self { Self(22) }
  /// ENOSPC: nothing more to be had within the bounds set.
  package static var noSpace: Self { Self(28) }
  /// EDEADLK: the caller would wait for itself.
  package static var deadlock: Self { Self(35) }
}
