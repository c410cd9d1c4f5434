import CShims
import Testing

@testable import BellowsCore

/// Bringing sections back by amount: what comes is counted to the page.
@Suite struct OnlineTests {
  /// Sections of each of which `kept` pages are in use, and the rest was taken in part.
  private func parts(_ count: UInt, keeping kept: UInt) throws -> (fixture: ArenaFixture, taken: UInt) {
    let fixture = try #require(ArenaFixture(sections: count))
    let runs = (0..<count).map { _ in fixture.writtenRun(fixture.managedPages) }
    for run in runs {
      let section = fixture.arena.knownSection(at: run.address)
      fixture.zone.free(section, address: run.address + kept << Page.shift, pages: run.pages - kept)
    }
    var taken: UInt = 0
    for run in runs { taken += fixture.takeOffline(at: run.address, .keepPartial).report.takenPages }
    #expect(taken > 0 && taken == fixture.zone.it.cagedPages)
    return (fixture, taken)
  }

  private func online(_ fixture: ArenaFixture, _ pages: UInt) -> (error: Int32, pages: UInt) {
    var report = OfflineReport()
    let error = fixture.arena.online(pages: pages, &report, fixture.client(nil, Announcements()))
    return (error, report.broughtPages)
  }

  /// A part of a section stands for a section that was asked for; more than there is says how much came.
  @Test(arguments: [1, 4096, 1 << 20] as [UInt]) func aPartComesBack(asked: UInt) throws {
    let (fixture, taken) = try parts(1, keeping: 10)
    let answer = online(fixture, asked)
    #expect(answer.pages == taken && fixture.zone.it.cagedPages == 0)
    #expect(answer.error == (asked > fixture.geometry.sectionPages ? HotplugErrno.outOfMemory : 0))
    #expect(online(fixture, 1) == (HotplugErrno.outOfMemory, 0))
  }

  /// As much as was asked for, where each section has only a part of it.
  @Test func partsOfSeveralSectionsComeBack() throws {
    let (fixture, taken) = try parts(3, keeping: 10)
    #expect(online(fixture, taken) == (0, taken))
    #expect(fixture.zone.it.cagedPages == 0)
  }

  /// A part is not made up for by a section that was not asked for.
  @Test func noMoreComesThanWasAskedFor() throws {
    let (fixture, _) = try parts(2, keeping: 10)
    let other = try #require(fixture.addSection())
    #expect(fixture.takeOffline(at: other.it.base, .wholeOnly).error == 0)
    #expect(online(fixture, 2 * fixture.geometry.sectionPages).error == 0)
    #expect(other.it.state == .offline && fixture.zone.it.cagedPages == 0)
    #expect(online(fixture, 1) == (0, fixture.geometry.sectionPages))
    #expect(other.it.state == .online)
  }

  /// Who asked is gone: whatever the policy, nothing stays out.
  @Test(arguments: [OfflinePolicy.wholeOnly, .keepPartial, .stay], [false, true])
  func whatIsWithdrawnIsUndone(policy: OfflinePolicy, isWithdrawn: Bool) throws {
    let fixture = try #require(ArenaFixture(sections: 1))
    let run = fixture.writtenRun(fixture.managedPages)
    fixture.zone.free(fixture.section(0), address: run.address + 10 << Page.shift, pages: run.pages - 10)
    let word = Memory(64)
    bellows_store32(word.address, 1)
    var request = OfflineRequest(policy: policy, deadline: .max, cancelWord: word.address)
    request.isUndoneWhenCancelled = isWithdrawn
    var report = OfflineReport()
    let client = fixture.client(nil, Announcements())
    #expect(fixture.arena.offline(at: run.address, request, &report, client) == HotplugErrno.interrupted)
    let isBack = fixture.section(0).it.state == .online && fixture.zone.it.cagedPages == 0
    #expect(isBack == (isWithdrawn || policy == .wholeOnly))
  }
}
