// The two ways to ask for a transition, by place and by address or amount, are one: they see each other's sections.

import BellowsCore
import CShims
import Testing

private func refusal(_ body: () throws(Refusal) -> Void) -> Refusal? {
  do throws(Refusal) { try body() } catch { return error }
  return nil
}

/// What was answered, in order; one thread at a time adds to it.
private final class Answers: @unchecked Sendable {
  private(set) var list: [Refusal?] = []
  func add(_ answer: Refusal?) { list.append(answer) }
  func add(_ number: Int32) { list.append(Refusal(number)) }
}

@Suite struct TransitionTests {
  /// What goes one way may come back the other way, or be removed.
  @Test func bothWaysShareTheSections() throws {
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    let bytes = fixture.geometry.sectionBytes
    let before = try Figures(fixture)
    _ = try arena.add(AddRequest(), count: 4)
    try arena.online(0..<4)
    for index in 0..<4 as Range<UInt> {
      #expect(fixture.takeOffline(at: fixture.reservation + index * bytes, .wholeOnly).error == 0)
    }
    #expect(arena.it.offlineCount == 4)
    // From the middle and from both ends.
    try arena.online(1..<3)
    try arena.online(0..<1)
    try arena.online(3..<4)
    #expect(arena.it.offlineCount == 0 && fixture.zone.it.managedPages == 4 * fixture.managedPages)
    try fixture.offline(0..<3)
    #expect(arena.it.offlineCount == 3)
    #expect(fixture.bringBack(at: fixture.reservation + bytes) == 0)
    #expect(fixture.bringBack(at: fixture.reservation + bytes) == HotplugErrno.invalid)
    #expect(fixture.record(1).it.state == .online && arena.it.offlineCount == 2)
    try arena.remove(0..<1)
    #expect(arena.it.offlineCount == 1)
    var report = OfflineReport()
    let client = fixture.client(nil, Announcements())
    #expect(arena.online(pages: 1, &report, client) == 0 && fixture.record(2).it.state == .online)
    #expect(arena.online(pages: 1, &report, client) == HotplugErrno.outOfMemory)
    try fixture.offline(1..<4)
    for index in 1..<4 as Range<UInt> { try arena.remove(index..<(index + 1)) }
    // One that never was online is in no list.
    _ = try arena.add(AddRequest())
    try arena.remove(0..<1)
    #expect(try Figures(fixture) == before && arena.it.offlineCount == 0)
  }

  /// A section in a transition is busy to all others, whichever way they come.
  @Test func aTokenHoldsForBothWays() throws {
    let fixture = try ArenaFixture.explicit()
    let arena = fixture.arena
    let bytes = fixture.geometry.sectionBytes
    _ = try arena.add(AddRequest(), count: 3)
    try arena.online(0..<3)
    // Somebody else has the first.
    fixture.record(0).it.token = 7
    #expect(fixture.takeOffline(at: fixture.reservation, .wholeOnly).error == HotplugErrno.busy)
    #expect(fixture.bringBack(at: fixture.reservation) == HotplugErrno.busy)
    #expect(fixture.record(0).it.token == 7 && fixture.record(0).it.state == .online)
    fixture.record(0).it.token = 0
    // By address, asked again by place and by address, from a listener.
    let announcements = Announcements()
    let answers = Answers()
    announcements.body = { event in
      guard event == .goingOffline else { return }
      answers.add(refusal { () throws(Refusal) in try fixture.offline(1..<2) })
      answers.add(fixture.takeOffline(at: fixture.reservation + bytes, .wholeOnly).error)
      // Another thread may take another section, and not this one.
      try? inThreads(1) { _ in
        answers.add(refusal { () throws(Refusal) in try fixture.offline(0..<1) })
        answers.add(refusal { () throws(Refusal) in try fixture.offline(1..<2) })
        answers.add(fixture.takeOffline(at: fixture.reservation + 2 * bytes, .wholeOnly).error)
      }
    }
    let (error, _) = fixture.takeOffline(at: fixture.reservation, .wholeOnly, telling: announcements)
    #expect(error == 0 && answers.list == [.deadlock, .deadlock, .busy, nil, .busy])
    #expect(!arena.isInTransition)
    for index in 0..<3 as Range<UInt> { #expect(fixture.record(index).it.token == 0) }
  }

  /// By amount, what others have in hand is left to them.
  @Test func anAmountLeavesWhatOthersHave() throws {
    let fixture = try ArenaFixture.explicit()
    _ = try fixture.arena.add(AddRequest(), count: 3)
    try fixture.arena.online(0..<3)
    #expect(fixture.takeOffline(at: fixture.writtenRun(1).address, .stay).error == HotplugErrno.busy)
    let going = (0..<3 as Range<UInt>).first { fixture.record($0).it.state == .goingOffline }
    let section = try fixture.record(#require(going))
    section.it.token = 7
    section.it.chain = 4096
    var report = OfflineReport()
    let client = fixture.client(nil, Announcements())
    let answer = fixture.arena.offline(
      pages: fixture.geometry.sectionPages, OfflineRequest(policy: .stay), &report, client)
    #expect(answer == 0 && report.wholeSections == 1)
    #expect(section.it.token == 7 && section.it.chain == 4096 && section.it.state == .goingOffline)
    section.it.token = 0
  }
}
