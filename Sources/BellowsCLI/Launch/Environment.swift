// The environment that a command gets: computed as a value, so that it can be tested without running anything.

/// What `bellows run` sets in the environment of its command.
struct Environment: Equatable {
  /// The options of Bellows; nil leaves what is inherited.
  struct Settings: Equatable {
    /// `BELLOWS_CHECK`: find every double free, interior pointer and wrong sized free.
    var check: Bool?
    /// `BELLOWS_PURGE_DELAY`: how long freed memory is kept, in milliseconds.
    var purgeDelay: Int?
    /// `BELLOWS_STATISTICS`: print statistics at exit.
    var statistics: Bool?
    /// `BELLOWS_THREAD`: run the helper thread.
    var thread: Bool?
    /// `BELLOWS_CONTROL`: take commands.
    var control: Bool?
    /// `BELLOWS_LIMIT`: how much the heap may hold, as SOFT:HARD.
    var limit: String?
    /// `BELLOWS_LOG`: where events are written.
    var log: String?
  }

  /// The values by name.
  var values: [String: String]

  /// Makes the environment of a command from the one that is inherited.
  init(inheriting inherited: [String: String], preloading library: String, settings: Settings = Settings()) {
    values = inherited
    values["LD_PRELOAD"] = Self.preload(library, before: inherited["LD_PRELOAD"] ?? "")
    if let check = settings.check { values["BELLOWS_CHECK"] = check ? "1" : "0" }
    if let purgeDelay = settings.purgeDelay { values["BELLOWS_PURGE_DELAY"] = String(purgeDelay) }
    if let statistics = settings.statistics { values["BELLOWS_STATISTICS"] = statistics ? "1" : "0" }
    if let thread = settings.thread { values["BELLOWS_THREAD"] = thread ? "1" : "0" }
    if let control = settings.control { values["BELLOWS_CONTROL"] = control ? "1" : "0" }
    if let limit = settings.limit { values["BELLOWS_LIMIT"] = limit }
    if let log = settings.log { values["BELLOWS_LOG"] = log }
  }

  /// Returns the value of LD_PRELOAD with a library put first and all else kept.
  ///
  /// An entry with the library's own file name is dropped: it is the same library, or another copy of it, and two
  /// copies in one process would be of no use. The dynamic loader takes both blanks and colons as separators.
  static func preload(_ library: String, before others: String) -> String {
    let name = library.split(separator: "/").last
    let kept = others.split { $0 == ":" || $0 == " " }.filter { $0.split(separator: "/").last != name }
    return ([library] + kept.map(String.init)).joined(separator: ":")
  }

  /// Tells what keeps a path from standing in LD_PRELOAD, or nil where nothing does.
  static func unfit(_ library: String) -> String? {
    // The loader splits at blanks and colons and expands $ORIGIN, $LIB and $PLATFORM; there is no way to quote.
    library.first { $0 == ":" || $0 == " " || $0 == "$" }.map { character in
      "its path contains '\(character)', which LD_PRELOAD cannot carry"
    }
  }
}
