// What `bellows top --once --json` prints: the figures of `stat`, and what the panels show.

/// All panels as one object.
struct TopObject: Encodable {
  struct Section: Encodable {
    let base: String
    let state: String
    let size: Int
    let used: Int
    let resident: Int?
    /// A sign a pageblock, as on the screen without Unicode.
    let pageblocks: String
  }

  struct Class: Encodable {
    let block: Int
    let blocks: Int
    let shards: Int
    let span: Int
  }

  struct Thread: Encodable {
    let thread: Int
    let name: String
    let slowCalls: Int
    let kept: Int

    private enum CodingKeys: String, CodingKey {
      case thread, name, kept
      case slowCalls = "slow_calls"
    }
  }

  let figures: JSONObject
  let sections: [Section]
  let classes: [Class]
  let threads: [Thread]

  init(_ screen: TopScreen) {
    let now = screen.interval.now
    figures = screen.interval.object(screen.process)
    sections = now.heap.sections.map { section in
      Section(
        base: "0x" + String(section.base, radix: 16), state: section.state, size: section.bytes,
        used: section.usedBytes, resident: section.residentBytes, pageblocks: screen.signs(of: section))
    }
    classes = (now.census?.classes ?? []).filter { $0.shards > 0 }.map {
      Class(block: $0.bytes, blocks: $0.blocks, shards: $0.shards, span: $0.spanBytes)
    }
    threads = now.heap.heaps.map {
      Thread(thread: $0.thread, name: $0.name, slowCalls: $0.slowCalls, kept: $0.keptBytes)
    }
  }

  private enum CodingKeys: String, CodingKey {
    case sections, classes
    case threads = "thread_heaps"
  }

  func encode(to encoder: any Encoder) throws {
    try figures.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(sections, forKey: .sections)
    try container.encode(classes, forKey: .classes)
    try container.encode(threads, forKey: .threads)
  }
}
