// Pages that an owner other than the page allocator keeps, in runs: what a balloon holds.
//
// The list needs no memory: the descriptor of a run's first page has its links.
//
//   word 0   offline, one reference   (every page of the run)
//   word 1   the owner                (the first page alone, from here on)
//   word 2   the next run's address
//   word 3   the previous run's address
//   word 4   pages of the run
//
// A run lies in one section. Neighbours are not joined: runs are taken from the front in pieces, and what comes back
// goes to the front, so that pages that were accessible before are used again first. Belongs to its owner's lock.

package struct HeldPages: BitwiseCopyable {
  package private(set) var first: UInt = 0
  package private(set) var last: UInt = 0
  package private(set) var pages: UInt = 0

  package init() {}

  /// A run's part of its first page's descriptor.
  private struct Link: BitwiseCopyable {
    var word: UInt
    var owner: UInt
    var next: UInt
    var previous: UInt
    var pages: UInt
  }

  private func link(_ arena: ArenaRef, _ run: UInt) -> Ref<Link> {
    Ref<Link>(arena.knownSection(at: run).descriptor(of: run).address)
  }

  /// The pages of the run at `run`.
  package func count(_ arena: ArenaRef, _ run: UInt) -> UInt { link(arena, run).it.pages }
  package func next(_ arena: ArenaRef, _ run: UInt) -> UInt { link(arena, run).it.next }

  /// Who keeps the run that starts at `run`.
  package static func owner(_ arena: ArenaRef, of run: UInt) -> UInt {
    Ref<Link>(arena.knownSection(at: run).descriptor(of: run).address).it.owner
  }

  // MARK: Change

  /// Puts a run, whose pages are marked as offline, at the front or at the end.
  package mutating func insert(
    _ arena: ArenaRef, _ run: UInt, pages count: UInt, owner: UInt, atFront: Bool
  ) {
    let entry = link(arena, run)
    entry.it.owner = owner
    entry.it.pages = count
    entry.it.next = atFront ? first : 0
    entry.it.previous = atFront ? 0 : last
    if entry.it.next != 0 { link(arena, entry.it.next).it.previous = run } else { last = run }
    if entry.it.previous != 0 { link(arena, entry.it.previous).it.next = run } else { first = run }
    pages = pages &+ count
  }

  /// Takes `count` pages off the start of the run at `run`; all of them where there are no more.
  package mutating func remove(_ arena: ArenaRef, _ run: UInt, pages count: UInt) {
    let entry = link(arena, run).it
    if count < entry.pages {
      // The rest becomes a run in its place.
      let rest = run &+ count &<< Page.shift
      let moved = link(arena, rest)
      moved.it.owner = entry.owner
      moved.it.pages = entry.pages &- count
      moved.it.next = entry.next
      moved.it.previous = entry.previous
      if entry.next != 0 { link(arena, entry.next).it.previous = rest } else { last = rest }
      if entry.previous != 0 { link(arena, entry.previous).it.next = rest } else { first = rest }
    } else {
      if entry.next != 0 {
        link(arena, entry.next).it.previous = entry.previous
      } else {
        last = entry.previous
      }
      if entry.previous != 0 { link(arena, entry.previous).it.next = entry.next } else { first = entry.next }
    }
    clear(link(arena, run))
    pages = pages &- count
  }

  private func clear(_ entry: Ref<Link>) {
    entry.it.owner = 0
    entry.it.next = 0
    entry.it.previous = 0
    entry.it.pages = 0
  }
}
