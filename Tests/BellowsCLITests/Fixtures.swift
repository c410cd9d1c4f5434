import Bellows
import SystemPackage

/// The recorded trees of /proc and /sys, one folder each.
enum Fixtures {
  /// The folder of this file's tests.
  static let tests = FilePath(#filePath).removingLastComponent()

  /// Returns the files of a tree.
  static func files(_ tree: String) -> SystemFiles {
    SystemFiles(root: tests.appending("Fixtures").appending(tree))
  }
}
