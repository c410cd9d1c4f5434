// A service in little: classes in graphs, actors, task groups, JSON, strings, dictionaries, regular expressions and
// dates. What it prints depends on nothing but its source, so that two runs can be compared byte for byte.
import Dispatch
import Foundation

struct Order: Codable, Hashable, Sendable {
  var id: Int
  var customer: String
  var lines: [Line]
  var note: String?

  struct Line: Codable, Hashable, Sendable {
    var article: String
    var count: Int
    var price: Double
  }

  init(id: Int) {
    self.id = id
    customer = "customer-\(id * 7919 % 613)"
    lines = (0..<(id % 9)).map {
      Line(article: "article \($0) ✓ größe", count: id % ($0 + 2), price: Double($0) * 1.25)
    }
    note = id.isMultiple(of: 4) ? String(repeating: "note \(id) ", count: id % 50) : nil
  }
}

/// A tree whose nodes point back at their parents without owning them.
final class Node {
  let key: Int
  var left: Node?, right: Node?
  weak var parent: Node?
  var payload: [String]

  init(_ key: Int) {
    self.key = key
    payload = (0..<(key % 5)).map { "payload \(key).\($0) long enough to live on the heap" }
  }

  func insert(_ node: Node) {
    var place = self
    while true {
      if node.key < place.key {
        guard let next = place.left else { place.left = node; break }
        place = next
      } else {
        guard let next = place.right else { place.right = node; break }
        place = next
      }
    }
    node.parent = place
  }

  func sum() -> Int {
    let own = key &+ payload.reduce(0) { $0 &+ $1.utf8.count } &+ (parent?.key ?? 0)
    return own &+ (left?.sum() ?? 0) &+ (right?.sum() ?? 0)
  }
}

/// Keeps encoded orders by customer, as a service keeps its sessions.
actor Store {
  private var byCustomer: [String: [Int: Data]] = [:]

  func put(_ order: Order) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    byCustomer[order.customer, default: [:]][order.id] = try encoder.encode(order)
  }

  func drop(every n: Int) {
    for (customer, orders) in byCustomer {
      byCustomer[customer] = orders.filter { !$0.key.isMultiple(of: n) }
    }
  }

  func summary() throws -> String {
    var count = 0, bytes = 0, worth = 0.0
    for customer in byCustomer.keys.sorted() {
      let orders = byCustomer[customer] ?? [:]
      for id in orders.keys.sorted() {
        guard let data = orders[id] else { continue }
        let order = try JSONDecoder().decode(Order.self, from: data)
        precondition(order == Order(id: id), "order \(id) came back changed")
        count += 1
        bytes += data.count
        worth += order.lines.reduce(0) { $0 + $1.price * Double($1.count) }
      }
    }
    return "\(count) orders, \(bytes) bytes of JSON, worth \(worth)"
  }
}

@main
enum Service {
  static func main() async throws {
    let scale = Int(ProcessInfo.processInfo.environment["SCALE"] ?? "") ?? 1

    let store = Store()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for part in 0..<16 {
        group.addTask {
          for i in 0..<(400 * scale) { try await store.put(Order(id: part * 100_000 + i)) }
        }
      }
      try await group.waitForAll()
    }
    print(try await store.summary())
    await store.drop(every: 3)
    print(try await store.summary())

    let counts = await withTaskGroup(of: [String: Int].self) { group in
      for part in 0..<32 {
        group.addTask {
          var words: [String: Int] = [:]
          for i in 0..<(8000 * scale) { words["word \((i * 31 + part) % 1999)", default: 0] += 1 }
          return words
        }
      }
      var all: [String: Int] = [:]
      for await words in group { all.merge(words, uniquingKeysWith: +) }
      return all
    }
    print(counts.count, counts.values.reduce(0, +), counts["word 7"] ?? 0)

    let root = Node(500_000)
    for i in 0..<(60_000 * scale) { root.insert(Node(i &* 7919 % 1_000_003)) }
    print("tree", root.sum())

    // Blocks that are made on one thread and die on another.
    let queue = DispatchQueue(label: "consumer")
    nonisolated(unsafe) var length = 0
    DispatchQueue.concurrentPerform(iterations: 64) { i in
      let text = (0..<2000).map { "\(i)-\($0)" }
      queue.async { length += text.reduce(0) { $0 + $1.utf8.count } }
    }
    queue.sync { print("handed over", length) }

    var text = (0..<20_000).map { "\($0): größer ✓ \($0 * 17 % 101)" }.joined(separator: "\n")
    text = text.replacingOccurrences(of: "größer", with: "kleiner").uppercased()
    print(text.count, text.utf8.count, text.split(separator: "\n").filter { $0.hasSuffix("7") }.count)
    print(text.matches(of: /KLEINER . (\d)\n/).count)

    let formatter = ISO8601DateFormatter()
    let dates = (0..<3000).map { formatter.string(from: Date(timeIntervalSince1970: Double($0) * 86_399)) }
    print(
      dates.last ?? "", dates.compactMap(formatter.date(from:)).reduce(0) { $0 + $1.timeIntervalSince1970 })

    let url = URL(fileURLWithPath: "service.json")
    try JSONEncoder().encode((0..<2000).map(Order.init(id:))).write(to: url, options: .atomic)
    let back = try JSONDecoder().decode([Order].self, from: Data(contentsOf: url))
    print("file", back == (0..<2000).map(Order.init(id:)), back.count)
  }
}
