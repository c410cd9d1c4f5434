import Testing

/// Wrong pointers: exactly one line that names the pointer and the reason, then SIGABRT.
@Suite("Misuse is one clear line and an abort", .needsLibrary)
struct MisuseTests {
  enum Reason: String, CaseIterable, Sendable {
    case foreign = "not allocated by|not a block|never allocated|foreign|unknown"
    case interior = "interior|no block starts"
    case doubleFree = "double free|freed (last|already|twice)|is free"
    case doubleOrGone = "double free|already freed|not allocated by"
    case size = "size"
  }

  private func expectAbort(_ arguments: [String], _ reason: Reason, checks: Bool = false) throws {
    let child = Child.run(
      ["\(Library.programs)/misuse"] + arguments,
      environment: ["LD_PRELOAD": Library.path].merging(checks ? ["BELLOWS_CHECK": "1"] : [:]) { $1 })
    let said = child.output.split(separator: "\n").last { $0.hasPrefix("pointer ") }
    let pointer = try #require(said?.dropFirst("pointer ".count), "\(child)")
    #expect(child.ending == .signalled(6), "\(child)")
    #expect(child.errorLines.count == 1, "\(child)")
    #expect(child.errors.contains(pointer), "\(child)")
    let pattern = try Regex(reason.rawValue).ignoresCase()
    #expect(child.errors.contains(pattern), "wanted /\(reason.rawValue)/: \(child)")
  }

  @Test(
    "pointers that never came from malloc",
    arguments: [
      "null-page", "wild", "kernel", "low", "unmapped", "mapped", "stack", "data", "bss", "code", "odd",
      "records", "records-start", "never-given",
    ], ["free", "realloc", "malloc_usable_size", "cfree", "_ZdlPv", "__libc_free"])
  func foreign(kind: String, function: String) throws {
    if function == "malloc_usable_size" {  // it may also answer 0: nothing was changed
      let child = Library.run("misuse", "foreign", kind, "usable-size")
      if child.isClean, child.output.contains("usable 0\n") { return }
      return try expectAbort(["foreign", kind, "usable-size"], .foreign)
    }
    try expectAbort(["foreign", kind, function], .foreign)
  }

  @Test(
    "pointers into large blocks", arguments: ["large", "large-16", "megabytes", "huge", "huge-16"],
    ["free", "realloc", "usable-size"])
  func interior(kind: String, function: String) throws {
    try expectAbort(["interior", kind, function], .interior)
  }

  @Test(
    "a large block freed twice", arguments: ["large", "megabytes", "huge"],
    ["last", "between", "freed-by-thread", "by-thread"])
  func doubleLarge(size: String, case: String) throws {
    try expectAbort(["double", size, `case`], .doubleOrGone)
  }

  @Test("the block freed last, freed again", arguments: ["small", "middle", "large", "megabytes"])
  func doubleLast(size: String) throws {
    try expectAbort(["double", size, "last"], .doubleFree)
    try expectAbort(["double", size, "last", "realloc"], .doubleFree)
  }

  @Test(
    "with BELLOWS_CHECK=1 every double free",
    arguments: ["small", "middle", "large", "megabytes", "huge"],
    ["last", "between", "freed-by-thread", "by-thread"])
  func checkedDouble(size: String, case: String) throws {
    try expectAbort(["double", size, `case`], size == "huge" ? .doubleOrGone : .doubleFree, checks: true)
  }

  @Test(
    "with BELLOWS_CHECK=1 every interior pointer",
    arguments: ["small", "small-odd", "middle", "large", "huge"],
    ["free", "realloc"])
  func checkedInterior(kind: String, function: String) throws {
    try expectAbort(["interior", kind, function], .interior, checks: true)
  }

  @Test(
    "with BELLOWS_CHECK=1 a wrong size",
    arguments: [
      ["free_sized", "100", "200"], ["free_sized", "200", "100"], ["free_sized", "100000", "50"],
      ["free_sized", "50", "100000"], ["free_sized", "100000000", "50"], ["free_aligned_sized", "640", "64"],
      ["_ZdlPvm", "1000", "8"], ["_ZdaPvm", "1000", "2000"], ["_ZdlPvmSt11align_val_t", "640", "64"],
      ["_ZdaPvmSt11align_val_t", "64", "640"],
    ])
  func checkedSize(use: [String]) throws {
    try expectAbort(["sized"] + use, .size, checks: true)
  }

  @Test(
    "with BELLOWS_CHECK=1 the other wrong pointers too", arguments: ["null-page", "wild", "stack", "data"])
  func checkedForeign(kind: String) throws {
    try expectAbort(["foreign", kind, "free"], .foreign, checks: true)
  }

  @Test("what is right is never complained of", arguments: ["0", "1"])
  func correct(checks: String) {
    let child = Library.run("misuse", "correct", environment: ["BELLOWS_CHECK": checks])
    #expect(child.isClean && child.output.hasSuffix("ok\nsurvived\n"), "\(child)")
  }
}
