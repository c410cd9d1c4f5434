// The mappings that hold an arena's records, chained so that they can be given back.
//
//   anchor ──► │ next, bytes │ metadata ... │ ──► ...
//
// The engine never gives its metadata back: the process heap has no end. An arena of somebody's has one, so what it
// maps for records gets a page in front that chains it.

package struct MetadataChain: BitwiseCopyable, Sendable {
  /// The address of the word that the chain starts in, zero at first. Everything under the arena's growth lock.
  private let anchor: UInt

  package init(anchor: UInt) { self.anchor = anchor }

  /// What the page in front of a mapping says.
  private struct Link: BitwiseCopyable {
    var next: UInt
    var bytes: UInt
  }

  /// Maps `bytes` bytes and chains them: their address, or `-errno`.
  package func map(_ bytes: UInt) -> Int {
    let length = bytes &+ Page.bytes
    switch Platform.system.perform(.map, 0, length) {
    case .failure(let number): return 0 &- Int(number)
    case .success(let start):
      Ref<Link>(start).it = Link(next: Ref<UInt>(anchor).it, bytes: length)
      Ref<UInt>(anchor).it = start
      return Int(bitPattern: start &+ Page.bytes)
    }
  }

  /// Gives all of it back.
  package func release() {
    while case let start = Ref<UInt>(anchor).it, start != 0 {
      let link = Ref<Link>(start).it
      Ref<UInt>(anchor).it = link.next
      Platform.system.attempt(.release, start, link.bytes)
    }
  }

  /// Calls `body` with the start and the length of each mapping.
  package func forEach(_ body: (UInt, UInt) -> Void) {
    var start = Ref<UInt>(anchor).it
    while start != 0 {
      body(start, Ref<Link>(start).it.bytes)
      start = Ref<Link>(start).it.next
    }
  }
}
