/// Why a change of an arena's sections did not happen, by the system's error numbers.
///
/// Nothing has changed then, unless the function says otherwise.
public struct HotplugError: Error, Hashable, Sendable {
  /// The number, as in `errno.h`.
  public let errno: Int32

  /// Makes the error of a number. What an observer throws reaches the caller of the transition.
  public init(errno: Int32) { self.errno = errno }

  /// EPERM: an observer objects and gives no reason.
  public static var notPermitted: Self { Self(errno: 1) }
  /// EINTR: the caller asked to stop.
  public static var interrupted: Self { Self(errno: 4) }
  /// ENXIO: there is no section, or it is a device's.
  public static var noSection: Self { Self(errno: 6) }
  /// E2BIG: outside of the arena's capacity.
  public static var outOfRange: Self { Self(errno: 7) }
  /// EAGAIN: too many transitions at once.
  public static var again: Self { Self(errno: 11) }
  /// ENOMEM: the system refuses memory for pages, descriptors or records.
  public static var noMemory: Self { Self(errno: 12) }
  /// EBUSY: pages are in use, the section is not offline, or another transition has it.
  public static var busy: Self { Self(errno: 16) }
  /// EEXIST: a section is there, or registered, already.
  public static var exists: Self { Self(errno: 17) }
  /// EINVAL: not such a range, placement or state.
  public static var invalid: Self { Self(errno: 22) }
  /// ENOSPC: no place is left.
  public static var noSpace: Self { Self(errno: 28) }
  /// EDEADLK: a transition from inside of an observer.
  public static var deadlock: Self { Self(errno: 35) }
}
