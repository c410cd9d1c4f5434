// The allocators that can be compared: names for those that distributions have, or the path of any library.

import Bellows
import Glibc
import SystemPackage

/// A malloc that a run has.
struct StressAllocator: Equatable, Sendable {
  /// The name in tables and charts.
  let name: String
  /// The library that is preloaded; nil for the C library's own malloc.
  let library: String?

  /// Why there is no such allocator.
  struct Failure: Error, Equatable {
    /// What is wrong and what to do about it.
    let message: String
  }

  /// The names that are known beside `bellows` and `glibc`, with the files that they stand for, newest first.
  static let known: [(name: String, files: [String])] = [
    ("jemalloc", ["libjemalloc.so.2", "libjemalloc.so.1"]),
    ("mimalloc", ["libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so.2.0"]),
    ("tcmalloc", ["libtcmalloc_minimal.so.4", "libtcmalloc.so.4", "libtcmalloc_minimal.so"]),
  ]

  /// Finds the allocator that a word stands for: a known name, or a path, or `name=path`.
  static func find(_ word: String, library: LibraryOption, environment: [String: String]) throws(Failure)
    -> StressAllocator
  {
    let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    if parts.count == 2, !parts[0].isEmpty { return try at(parts[1], name: parts[0]) }
    switch word {
    case "glibc": return StressAllocator(name: word, library: nil)
    case "bellows":
      do throws(LibrarySearch.Failure) {
        return StressAllocator(name: word, library: try library.search(environment: environment).find())
      } catch { throw Failure(message: error.message) }
    default: break
    }
    if let files = known.first(where: { $0.name == word })?.files {
      let folders = LibrarySearch(named: nil, toolFolder: Launch.ownFolder).folders
      let paths = files.flatMap { file in folders.map { "\($0)/\(file)" } }
      guard let path = paths.first(where: { unsafe access($0, R_OK) == 0 }) else {
        throw Failure(
          message: "\(word) is not installed: none of \(files.joined(separator: ", ")) was found. "
            + "On Debian: apt-get install libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4")
      }
      return StressAllocator(name: word, library: path)
    }
    guard word.contains("/") else {
      throw Failure(
        message: "There is no allocator '\(word)'. Known are bellows, glibc, jemalloc, mimalloc, tcmalloc; "
          + "any other is named by the path of its library, which contains a '/'.")
    }
    return try at(word, name: nil)
  }

  private static func at(_ path: String, name: String?) throws(Failure) -> StressAllocator {
    do throws(LibrarySearch.Failure) {
      let found = try LibrarySearch(named: path, toolFolder: "").find()
      let file = FilePath(found).lastComponent?.string ?? found
      // libmylloc.so.1 is called mylloc.
      let short = String((file.hasPrefix("lib") ? file.dropFirst(3) : file[...]).prefix { $0 != "." })
      return StressAllocator(name: name ?? (short.isEmpty ? file : short), library: found)
    } catch { throw Failure(message: error.message) }
  }
}
