// A service with one heap and one pinned thread for each NUMA node: requests are sorted by key to a node, and everything that
// belongs to a key is allocated, used and freed there. Run it anywhere; on one node there is one worker.

import Bellows
import Foundation

/// What one node's thread has: memory on its node, and the records that lie in it.
final class Worker {
  let node: NodeNumber
  let arena: Arena
  let heap: Heap
  var records: [Int: Allocation.Leaked] = [:]

  init(on node: NodeNumber) throws {
    self.node = node
    arena = try Arena(reserving: .gibibytes(1))
    // Before the first page is touched. A full node is no end: memory then comes from the next by distance.
    try arena.place(.preferred(node))
    heap = try arena.makeHeap()
  }

  /// Handles keys until `count` are done; runs on a thread of the node.
  func serve(keys: Range<Int>) throws {
    try NodePinning.pin(to: node)
    for key in keys {
      var record = try heap.allocate(byteCount: .bytes(200 + key % 3000))
      do {
        var bytes = record.mutableBytes
        bytes.storeBytes(of: key, as: Int.self)
      }
      records[key] = Allocation.Leaked(record.leak())
    }
  }

  deinit {
    for record in records.values { heap.deallocate(record.bytes) }
  }
}

extension Allocation {
  /// A block that a collection can hold: dictionaries take copyable values only.
  struct Leaked {
    let bytes: UnsafeMutableRawBufferPointer
    init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }
  }
}

@main
struct NodeLocal {
  static func main() throws {
    let nodes = NodeTopology.current().nodes.filter { !$0.cpus.isEmpty && $0.memoryBytes > 0 }.map(\.number)
    let keysPerNode = 20_000
    for (place, node) in nodes.enumerated() {
      nonisolated(unsafe) let worker = try Worker(on: node)
      let thread = Thread {
        do { try worker.serve(keys: place * keysPerNode..<(place + 1) * keysPerNode) } catch {
          print("node \(node): \(error)")
        }
        // The kernel says where the pages are, and the page descriptors.
        for section in worker.arena.placement().sections {
          print(
            "node \(node): section \(section.index.rawValue), pages \(section.pages.pages), memmap \(section.memmap.pages)"
          )
        }
        done.signal()
      }
      thread.start()
      done.wait()
    }
  }

  private static let done = DispatchSemaphore(value: 0)
}
