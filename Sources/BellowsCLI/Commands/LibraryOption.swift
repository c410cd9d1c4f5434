import ArgumentParser

/// The option that names the library, shared by the commands that preload it.
struct LibraryOption: ParsableArguments {
  @Option(
    help: ArgumentHelp("Use this libbellows-malloc.so instead of looking for one.", valueName: "path"),
    completion: .file(extensions: ["so"]))
  var library: String?

  /// The search that the option and the environment ask for.
  func search(environment: [String: String]) -> LibrarySearch {
    let variable = environment["BELLOWS_LIB"].flatMap { $0.isEmpty ? nil : $0 }
    return LibrarySearch(named: library ?? variable, toolFolder: Launch.ownFolder)
  }
}

extension LibrarySearch.Failure {
  /// What went wrong and what to do about it.
  var message: String {
    switch self {
    case .unusable(let path, let reason):
      "\(path) cannot be preloaded: \(reason).\nName another one with --library PATH or BELLOWS_LIB."
    case .notFound(let searched):
      """
      \(LibrarySearch.fileName) was not found. Looked in:
        \(searched.joined(separator: "\n  "))
      Build it with `swift build -c release`, or name it with --library PATH or BELLOWS_LIB.
      """
    }
  }
}
