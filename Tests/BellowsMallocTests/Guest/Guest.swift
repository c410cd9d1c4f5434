import Testing

/// Bellows in programs that do not know it: their threads, descriptors, signals, rights, locks and errno are theirs.
///
/// Each test is the right behaviour of a kind of program that went wrong under some malloc replacement, ours or another;
/// the program says where the kind comes from. `make test` runs the suite as a phase of its own.
@Suite("Guest", .needsLibrary)
enum Guest {
  /// How a program is run: as it comes, with every free checked, with the helper thread, and with the threads of control.
  enum Way: String, CaseIterable, CustomTestStringConvertible {
    case plain, check, thread, control

    var environment: [String: String] {
      switch self {
      case .plain: [:]
      case .check: ["BELLOWS_CHECK": "1"]
      case .thread: ["BELLOWS_THREAD": "1"]
      case .control: ["BELLOWS_CONTROL": "1"]
      }
    }

    var testDescription: String { rawValue }
  }
}
