/// The version of a kernel, as in `6.18.44-generic`.
package struct KernelVersion: Hashable, Comparable, Sendable, Encodable {
  /// The whole text.
  package let release: String
  /// The first number.
  package let major: Int
  /// The second number.
  package let minor: Int

  /// Parses a release such as `6.1.0-18-amd64`; nil where it does not begin with two numbers.
  package init?(parsing release: String) {
    let numbers = release.split(separator: ".", maxSplits: 2).prefix(2).map { $0.prefix { $0.isNumber } }
    guard numbers.count == 2, let major = Int(numbers[0]), let minor = Int(numbers[1]) else { return nil }
    self.release = release
    self.major = major
    self.minor = minor
  }

  /// Reads the version of the running kernel.
  package init?(reading files: SystemFiles) {
    guard let release = files.line("proc/sys/kernel/osrelease") else { return nil }
    self.init(parsing: release)
  }

  /// Tells whether the kernel is at least of this version.
  package func isAtLeast(_ major: Int, _ minor: Int) -> Bool {
    (self.major, self.minor) >= (major, minor)
  }

  /// Orders by major and minor number.
  package static func < (left: Self, right: Self) -> Bool {
    (left.major, left.minor) < (right.major, right.minor)
  }
}
