import Testing

/// Balloons, huge pages, sub-blocks and devices through bellows.h, on the malloc heap of the program.
@Suite("Balloons for C", .needsLibrary)
struct BalloonTests {
  @Test("each does what bellows.h says") func program() { expectOK(Library.run("balloon")) }

  @Test("the example of a page balloon") func example() {
    let child = Library.run("page-balloon")
    #expect(child.isClean && child.output.contains("inflated by 48 MiB"), "\(child)")
  }

  @Test("the same with every free checked, and with the helper") func inOtherModes() {
    expectOK(Library.run("balloon", environment: ["BELLOWS_CHECK": "1"]))
    expectOK(Library.run("balloon", environment: ["BELLOWS_THREAD": "1"]))
  }
}
