import Testing

extension Guest {
  /// The page of control, in whose hands ever (`control.c`: clients that are none of the tool's).
  @Suite struct ControlTests {
    private func run(_ arguments: String...) -> Child {
      let words = ["\(Library.programs)/control"] + arguments
      return Child.run(
        words, environment: ["LD_PRELOAD": Library.path].merging(Way.control.environment) { $1 })
    }

    /// Whoever may open the page may write anything at any time; what comes after it is done as ever, and nothing breaks.
    @Test(arguments: 0..<(Library.isSoak ? 64 : 4)) func aScribblerSwitchesNothingOff(_ number: Int) {
      let seed = UInt64.random(in: 0...(.max))
      print("aScribblerSwitchesNothingOff, seed \(seed)")
      expectOK(run("scribble", "\(seed)"))
    }

    @Test func whatNobodyWaitsForIsNotDone() { expectOK(run("lock")) }

    /// For ten minutes, said the request; its client's end counts, whatever was to become of the section.
    @Test func aSectionComesBackWhenItsClientEnds() { expectOK(run("caged")) }
  }
}
