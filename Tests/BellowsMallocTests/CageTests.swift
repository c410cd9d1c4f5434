import Testing

/// Sections of the process heap go offline under programs that go on.
@Suite("Sections go offline and come back", .needsLibrary)
struct CageTests {
  @Test("what is freed leaves, what is left is named, nothing is allocated there", arguments: ["1000", "20"])
  func freed(keep: String) {
    expectOK(Library.run("cage", "freed", "300", keep))
  }

  /// Three quarters of a cache's entries are deleted at random; after one pass over the rest the cache takes as much
  /// memory for a byte as when it was filled. That is 1.13 bytes: of the sizes, 9 % is rounding to classes, 1.6 % the
  /// ends of shards, and 1.6 % the descriptors of pages; 1.135 of a fifth of the entries.
  @Test("the example of a cooperating cache")
  func cooperatingCache() throws {
    let child = Library.run("cooperating-cache", Library.isSoak ? "1000000" : "200000")
    expectOK(child)
    let line = try #require(
      child.output.split(separator: "\n").first { $0.hasPrefix("resident: ") }, "\(child)")
    let share = try #require(Double(line.split(separator: " ")[1]), "\(line)")
    #expect(share <= 1.15, "\(child)")
    expectOK(Library.run("cooperating-cache", "20000"))
    let plain = Library.runPlain("cooperating-cache", "20000")
    #expect(plain.isClean && plain.output.contains("nothing more to be done"), "\(plain)")
  }

  @Test("the example of a service that shrinks on request")
  func shrinkingService() throws {
    let child = Library.run("shrinking-service", "rehearse")
    expectOK(child)
    func resident(_ moment: String) throws -> Int {
      let line = try #require(child.output.split(separator: "\n").first { $0.hasPrefix(moment) }, "\(child)")
      return try #require(Int(line.split(separator: " ")[1]), "\(line)")
    }
    // 4096 buffers of 64 KiB, of which one in 64 stays.
    #expect(try resident("full") > 256 << 10)
    #expect(try resident("shrunk") < 32 << 10, "\(child)")
    #expect(try resident("grown") > 256 << 10)
  }

  @Test("four threads, short threads and children of fork while sections cycle")
  func race() {
    expectOK(Library.run("cage", "race", Library.isSoak ? "300" : "30", limit: 400))
  }

  @Test("who holds a section is named, who sleeps is acknowledged for, who objects is obeyed")
  func planted() {
    expectOK(Library.run("cage", "planted"))
    expectOK(Library.run("cage", "planted", environment: ["BELLOWS_CHECK": "1"]))
  }

  /// The first law of a block that malloc has in hand while its thread sleeps: it does not come out of a section that
  /// went offline meanwhile.
  @Test("a block that was chosen before its section goes does not come out after")
  func inHand() {
    expectOK(Library.run("cage", "inhand"))
    expectOK(Library.run("cage", "inhand", environment: ["BELLOWS_CHECK": "1"]))
  }

  /// About 3000 seizures a second: the long version makes more than three million.
  @Test(
    "heaps are taken from threads that sleep, and nothing is lost or handed out twice",
    arguments: [[], ["signals"]])
  func seizures(signals: [String]) {
    let seconds = Library.isSoak ? "600" : "5"
    expectOK(
      signals.isEmpty
        ? Library.run("cage", "seizures", seconds, limit: 700)
        : Library.run("cage", "seizures", seconds, "signals", limit: 700))
  }

  @Test("a free that began before its thread's heap was taken ends with that heap")
  func taken() { expectOK(Library.run("cage", "taken", Library.isSoak ? "120" : "8", limit: 200)) }

  @Test("the same with every free checked, and without the helper")
  func raceInOtherModes() {
    expectOK(Library.run("cage", "race", "5", environment: ["BELLOWS_CHECK": "1"]))
    expectOK(Library.run("cage", "race", "5", environment: ["BELLOWS_THREAD": "0"]))
    expectOK(
      Library.run("cage", "race", "5", environment: ["BELLOWS_THREAD": "1", "BELLOWS_PURGE_DELAY": "2"]))
  }
}
