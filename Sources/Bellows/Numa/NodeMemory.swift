// Memory on one node for a measurement, and a thread on one node: the two ends of every cell of a latency or bandwidth matrix.

import BellowsCore
import CShims

/// Why a measurement could not be made.
package enum MeasurementFailure: Error, Equatable {
  /// The node has less free than the measurement needs.
  case noRoom(NodeNumber, needed: ByteCount)
  /// The kernel put pages elsewhere.
  case misplaced(NodeNumber, pages: Int)
  /// The thread may not run there.
  case notAllowed(NodeNumber, errno: Int32)
  /// A system call failed.
  case system(errno: Int32)
}

/// A mapping whose pages are all on one node, written once; goes with its owner.
package struct NodeMemory: ~Copyable {
  package let start: UInt
  package let bytes: UInt

  /// Maps and writes `bytes` on `node`, after a look at its room, and asks the kernel whether they came there.
  package init(_ bytes: Int, on node: NodeNumber) throws(MeasurementFailure) {
    guard NodeRoom.bytes(on: node) >= bytes, let mask = NodeMask([node]) else {
      throw .noRoom(node, needed: .bytes(bytes))
    }
    guard let start = Platform.system.address(.map, 0, UInt(bytes)) else { throw .system(errno: 12) }
    // A deinit does not run for a value that was not made whole.
    func giveUp(_ failure: MeasurementFailure) -> MeasurementFailure {
      Platform.system.attempt(.release, start, UInt(bytes))
      return failure
    }
    // Without huge pages: translation is part of what is measured, and must be the same in every cell.
    Platform.system.attempt(.noHuge, start, UInt(bytes))
    let policy = KernelPolicy.preferring(mask.bits)
    let result = policy.apply(start, UInt(bytes))
    guard result >= 0 else { throw giveUp(.system(errno: Int32(-result))) }
    for page in stride(from: start, to: start + UInt(bytes), by: 4096) { Ref<UInt>(page).it = page }
    let placement = PagePlacement(of: AddressRange(start: start, byteCount: .bytes(bytes)))
    let away = placement.residentPages - (placement.pages[node] ?? 0)
    guard away * 100 <= placement.residentPages else { throw giveUp(.misplaced(node, pages: away)) }
    self.start = start
    self.bytes = UInt(bytes)
  }

  deinit { Platform.system.attempt(.release, start, bytes) }
}

/// Runs work on the processors of one node.
public enum NodePinning {
  /// Runs `body` with the calling thread on the processors of a node, and lets it run where it could before afterwards.
  ///
  /// - Throws: What `body` throws; ``PlacementError`` where the node has no processor or this thread may not run there.
  public static func run<Result>(on node: NodeNumber, _ body: () throws -> Result) throws -> Result {
    var before = [UInt32](repeating: 0, count: 8192)
    let count = unsafe bellows_thread_processors(&before, before.count)
    guard count > 0 else { throw PlacementError.refused(errno: Int32(-count)) }
    try pin(to: node)
    defer { _ = unsafe bellows_pin_thread(before, count) }
    return try body()
  }

  /// Keeps the calling thread on the processors of a node from now on.
  ///
  /// - Throws: ``PlacementError``.
  public static func pin(to node: NodeNumber) throws(PlacementError) {
    let processors = (NodeTopology.current()[node]?.cpus ?? []).map { UInt32($0) }
    guard !processors.isEmpty else { throw .invalidNodes }
    let result = unsafe bellows_pin_thread(processors, processors.count)
    guard result == 0 else { throw .refused(errno: Int32(-result)) }
  }

  /// The node of the processor that the calling thread is on at this moment.
  public static var current: NodeNumber { NodeNumber(rawValue: max(0, bellows_current_node())) }
}
