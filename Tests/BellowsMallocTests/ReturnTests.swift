import Testing

@Suite("Memory goes back", .needsLibrary)
struct ReturnTests {
  @Test("a single-threaded program that freed all and idles, with the helper switched on")
  func idle() {
    expectOK(Library.run("returns", "idle", "0", "5", environment: ["BELLOWS_THREAD": "1"]))
  }

  @Test("one object in twenty stays: pages of partly used shards go back")
  func survivors() {
    expectOK(Library.run("returns", "idle", "20", "30", environment: ["BELLOWS_THREAD": "1"]))
  }

  @Test("malloc_trim returns the same at once", arguments: [["0", "5"], ["20", "30"]])
  func trim(keep: [String]) {
    expectOK(Library.run("returns", "idle", keep[0], keep[1], "trim"))
  }

  @Test("a spike over two threads")
  func spike() {
    expectOK(Library.run("returns", "spike", Library.isSoak ? "2048" : "512"))
  }

  @Test("heaps taken from sleeping threads lose and double nothing", arguments: [[], ["signals"]])
  func seized(signals: [String]) {
    let seconds = Library.isSoak ? "300" : "8"
    let delay = ["BELLOWS_PURGE_DELAY": "2"]
    expectOK(
      signals.isEmpty
        ? Library.run("returns", "seized", seconds, environment: delay, limit: 400)
        : Library.run("returns", "seized", seconds, signals[0], environment: delay, limit: 400))
  }
}
