// The naive model of a zone: one state per page, searched linearly.

import BellowsCore
import CShims

/// What a page is to the model. Pages of memmaps and of sections that are not there have no entry.
enum PageState: UInt8 {
  /// Never handed out, or returned: not resident.
  case absent
  /// Freed since it was last returned.
  case dirty
  case used
}

/// A zone and its model, driven together.
struct ZoneModel {
  struct Run {
    var run: PageRun
    var cookie: UInt
  }

  let fixture: ArenaFixture
  var random: Random
  var live: [Run] = []
  private var states: [[PageState]] = []
  private var used: UInt = 0
  private var dirty: UInt = 0
  private var step = 0

  init(_ fixture: ArenaFixture, stream: UInt64) {
    self.fixture = fixture
    random = Random(stream: stream)
  }

  private var geometry: Geometry { fixture.geometry }
  private var zone: ZoneRef { fixture.zone }
  private func note(_ what: String) -> String { "\(what), step \(step)" }

  // MARK: Steps

  mutating func takeStep() throws {
    step += 1
    switch random.below(16) {
    case 0..<8: try allocate()
    case 8..<14: try freeOne()
    default: try extend()
    }
    try compareCounters()
  }

  private mutating func allocate() throws {
    let pages = random.spread(1...2000)
    let alignment: UInt = 1 << random.below(random.chance(oneIn: 8) ? geometry.pageblockOrder + 3 : 4)
    let lowest = isLong(pages, alignment) ? lowestHole(pages) : nil
    let run = fixture.arena.allocate(pages: pages, alignment: alignment)
    while states.count < Int(fixture.arena.it.sections) {
      states.append(.init(repeating: .absent, count: Int(fixture.managedPages)))
    }
    guard let run else {
      try check(!hasRoom(pages, alignment), note("no run of \(pages) at \(alignment), but there is room"))
      return
    }
    try check(run.pages, is: pages, note("length"))
    try check(run.address.isAligned(to: alignment << Page.shift), note("\(pages) pages at \(alignment)"))
    if let lowest { try check(run.address, is: lowest, note("the lowest hole of \(pages) pages")) }
    try take(run)
    try write(Run(run: run, cookie: random.next().hashValue.magnitude))
  }

  private mutating func freeOne() throws {
    guard !live.isEmpty else { return }
    let place = Int(random.below(UInt(live.count)))
    let victim = live[place]
    live[place] = live[live.count - 1]
    live.removeLast()
    try free(victim)
  }

  /// Frees a live run, in one piece or, now and then, its tail first.
  private mutating func free(_ victim: Run) throws {
    try verify(victim)
    let section = fixture.arena.knownSection(at: victim.run.address)
    var pages = victim.run.pages
    if pages > 1, random.chance(oneIn: 4) {
      let kept = random.below(pages - 1) + 1
      zone.free(section, address: victim.run.address + kept << Page.shift, pages: pages - kept)
      set(victim.run.address + kept << Page.shift, pages - kept, .dirty)
      pages = kept
      try compareCounters()
    }
    zone.free(section, address: victim.run.address, pages: pages)
    set(victim.run.address, pages, .dirty)
  }

  private mutating func extend() throws {
    guard !live.isEmpty else { return }
    let place = Int(random.below(UInt(live.count)))
    let old = live[place].run
    let extra = random.spread(1...300)
    let section = fixture.arena.knownSection(at: old.address)
    let (index, first) = locate(old.end)
    let fits = first + Int(extra) <= states[index].count
    let free = fits && !states[index][first..<(first + Int(extra))].contains(.used)
    let extended = zone.extend(section, address: old.address, pages: old.pages, extra: extra)
    try check(extended, is: free, note("extend \(old.pages) by \(extra)"))
    guard extended else { return }
    set(old.end, extra, .used)
    live[place].run.pages += extra
    try write(live.remove(at: place))
  }

  /// Returns everything that is dirty.
  mutating func purge() throws {
    let expected = dirty
    try check(zone.purge(dirtySince: .max), is: expected, note("pages returned"))
    for index in states.indices {
      for page in states[index].indices where states[index][page] == .dirty { states[index][page] = .absent }
    }
    dirty = 0
    try compareCounters()
  }

  mutating func freeAll() throws {
    while let victim = live.popLast() { try free(victim) }
    try compareCounters()
  }

  // MARK: The model's own book

  /// Section and page of an address.
  private func locate(_ address: UInt) -> (Int, Int) {
    let offset = address - fixture.reservation
    // The last page of a section, not the first of the next, is where a run may end.
    let section = (offset - 1) >> geometry.sectionShift
    let page = (offset - section << geometry.sectionShift) >> Page.shift
    return (Int(section), Int(page) - Int(fixture.memmapPages))
  }

  private mutating func set(_ address: UInt, _ pages: UInt, _ state: PageState) {
    let (section, first) = locate(address)
    for page in first..<(first + Int(pages)) {
      switch states[section][page] {
      case .used: used -= 1
      case .dirty: dirty -= 1
      case .absent: break
      }
      states[section][page] = state
      switch state {
      case .used: used += 1
      case .dirty: dirty += 1
      case .absent: break
      }
    }
  }

  private mutating func take(_ run: PageRun) throws {
    let (section, first) = locate(run.address)
    try check(section < states.count, note("beyond the sections"))
    try check(first >= 0, note("page of a memmap"))
    try check(first + Int(run.pages) <= states[section].count, note("beyond the section"))
    let pages = states[section][first..<(first + Int(run.pages))]
    try check(!pages.contains(.used), note("overlap"))
    try check(run.isZero, is: !pages.contains(.dirty), note("isZero"))
    if run.isZero {
      for page in 0..<run.pages {
        try check(Ref<UInt>(run.address + page << Page.shift).it, is: 0, note("a page said to be zero"))
      }
    }
    set(run.address, run.pages, .used)
  }

  private func isLong(_ pages: UInt, _ alignment: UInt) -> Bool {
    pages > Zone.mostAlignedPages && alignment <= Page.granulePages
  }

  /// Where the lowest run of free granules that holds so many pages begins.
  private func lowestHole(_ pages: UInt) -> UInt? {
    let unit = Int(Page.granulePages)
    for section in states.indices {
      var start = 0
      for first in stride(from: 0, to: states[section].count, by: unit) {
        if states[section][first..<(first + unit)].contains(.used) { start = first + unit }
        guard first + unit - start >= Int(pages) else { continue }
        let base = fixture.reservation + UInt(section) << geometry.sectionShift
        return base + (fixture.memmapPages + UInt(start)) << Page.shift
      }
    }
    return nil
  }

  /// Whether the zone should have found a run: free granules in a row for long ones, and otherwise an aligned block of
  /// the request's order inside a pageblock, or whole free pageblocks in a row.
  private func hasRoom(_ pages: UInt, _ alignment: UInt) -> Bool {
    if isLong(pages, alignment), lowestHole(pages) != nil { return true }
    let order = max(pages.ceilingLog2, alignment.ceilingLog2)
    let small = order <= geometry.pageblockOrder
    let length = Int(small ? 1 << order : pages.rounded(upTo: geometry.pageblockPages))
    let step = Int(small ? 1 << order : max(alignment, geometry.pageblockPages))
    for section in states.indices {
      var start = -Int(fixture.memmapPages)
      while start + length <= states[section].count {
        if start >= 0, !states[section][start..<(start + length)].contains(.used) { return true }
        start += step
      }
    }
    // A section more: behind its memmap, at the first place that is aligned so.
    let start = fixture.memmapPages.rounded(upTo: isLong(pages, alignment) ? alignment : UInt(step))
    return fixture.arena.it.sections < UInt32(fixture.capacity >> geometry.sectionShift)
      && start + pages <= geometry.sectionPages && alignment < geometry.sectionPages
  }

  private mutating func write(_ run: Run) throws {
    for page in 0..<run.run.pages {
      let place = run.run.address + page << Page.shift
      Ref<UInt>(place).it = run.cookie ^ place
    }
    live.append(run)
  }

  private func verify(_ run: Run) throws {
    for page in 0..<run.run.pages {
      let place = run.run.address + page << Page.shift
      try check(Ref<UInt>(place).it, is: run.cookie ^ place, note("content"))
    }
  }

  // MARK: Comparisons

  private func compareCounters() throws {
    let sections = UInt(states.count)
    try check(zone.it.usedPages, is: used, note("used"))
    try check(zone.it.dirtyPages, is: dirty, note("dirty"))
    try check(zone.it.presentPages, is: sections * geometry.sectionPages, note("present"))
    try check(zone.it.managedPages, is: sections * fixture.managedPages, note("managed"))
    try check(zone.freePages, is: sections * fixture.managedPages - used, note("free"))
  }

  /// The ledger against the kernel's. Every used page has been written, and so have the memmaps.
  func compareKernel() throws {
    let resident = fixture.residentPages()
    try check(resident.managed, is: used + dirty, note("resident pages"))
    for run in live {
      let pages = Kernel.residentPages(run.run.address, run.run.bytes)
      try check(pages, is: run.run.pages, note("resident pages of a run"))
    }
    let rss = try Kernel.rss(fixture.reservation, fixture.capacity)
    let expected = (used + dirty + resident.memmap) << Page.shift
    try check(max(rss, expected) - min(rss, expected) <= 64 << 10, note("Rss \(rss), not \(expected)"))
    try compareMaps()
    let most = (used + dirty + UInt(states.count) * fixture.memmapPages) << Page.shift
    try check(rss <= most, note("Rss \(rss), at most \(most)"))
  }

  /// The maps of granules against the pages.
  private func compareMaps() throws {
    for section in states.indices {
      let map = zone.map(fixture.section(UInt(section)))
      for granule in 0..<geometry.granulesPerSection {
        let first = Int(granule * Page.granulePages) - Int(fixture.memmapPages)
        let isUsed = first < 0 || states[section][first..<(first + Int(Page.granulePages))].contains(.used)
        try check(map.contains(granule), is: isUsed, note("granule \(granule) of section \(section)"))
      }
    }
  }

  /// Everything is free: pageblocks are whole again, and each section can be had in one piece.
  mutating func compareEmpty() throws {
    try check((zone.it.occupied[0] | zone.it.occupied[1]), is: 0, note("a pageblock is still partly used"))
    let blocks = geometry.pageblocksPerSection
    let reserved = geometry.memmapBytes >> geometry.pageblockShift
    for index in 0..<UInt(states.count) {
      let section = fixture.section(index)
      try check(UInt(section.it.freeBlocks), is: blocks - reserved, note("free pageblocks"))
      try check(section.it.busy.count(0, count: blocks), is: reserved, note("busy pageblocks"))
    }
    var runs: [PageRun] = []
    for _ in states {
      guard let run = zone.run(pages: fixture.managedPages, alignment: 1) else {
        throw Violation(description: note("no run of a whole section"))
      }
      runs.append(run)
    }
    try check(zone.freePages, is: 0, note("free"))
    try check(zone.run(pages: 1, alignment: 1) == nil, note("a page of nothing"))
    for run in runs {
      zone.free(fixture.arena.knownSection(at: run.address), address: run.address, pages: run.pages)
      set(run.address, run.pages, .dirty)
    }
    try compareCounters()
  }
}
