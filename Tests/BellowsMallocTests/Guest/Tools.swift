import Glibc
import Testing

/// Programs of the system that tests of guests run. Scripts/setup installs them.
enum Tool {
  /// Whether a program is there. Under CI a missing one fails, because what needs it runs anyhow; on a desk it is said once.
  static func isThere(_ name: String) -> Bool {
    if unsafe access("/usr/bin/\(name)", X_OK) == 0 { return true }
    let line = "SKIPPED: tests of guests want /usr/bin/\(name): Scripts/setup installs it\n"
    _ = unsafe write(STDERR_FILENO, line, line.utf8.count)
    return Library.isRequired
  }
}

extension Trait where Self == ConditionTrait {
  static func needsTool(_ name: String) -> Self { .enabled(if: Tool.isThere(name), "no \(name)") }
}
