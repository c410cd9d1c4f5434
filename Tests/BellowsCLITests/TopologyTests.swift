import Bellows
import Testing

@Suite struct TopologyTests {
  @Test func oneNode() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-1"))
    #expect(topology.nodes.map(\.number) == [0])
    #expect(topology.nodes[0].cpus == [0, 1])
    #expect(topology.nodes[0].memoryBytes == 24_641_036 * 1024)
    #expect(topology.nodes[0].freeBytes == 12_320_518 * 1024)
    #expect(topology.offlineCPUs.isEmpty)
  }

  @Test func twoNodesWithSplitCPULists() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-2"))
    #expect(topology.nodes.map(\.cpus) == [[0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]])
    #expect(topology.distance(from: 0, to: 1) == 21 && topology.distance(from: 1, to: 1) == 10)
    #expect(topology.distance(from: 0, to: 2) == nil)
  }

  @Test func fourNodesOneWithoutCPUs() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-4-cpuless"))
    #expect(topology.nodes.map(\.cpus.isEmpty) == [false, false, false, true])
    #expect(topology.nodes[3].memoryBytes == 1 << 30)
    #expect(topology.distance(from: 2, to: 3) == 21 && topology.distance(from: 0, to: 3) == 40)
  }

  @Test func eightNodesWithOfflineCPUs() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-8-offline-cpus"))
    #expect(topology.nodes.count == 8)
    #expect(topology.nodes.flatMap(\.cpus).count == 60)
    #expect(topology.offlineCPUs == [44, 45, 46, 47])
    #expect(topology.nodes[5].cpus == [40, 41, 42, 43])
    #expect(topology.distance(from: 0, to: 3) == 12 && topology.distance(from: 0, to: 4) == 21)
  }

  // As many processors, and nodes, as kernels are built for.
  @Test func masksOf4096Bits() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-4096-cpus"))
    #expect(topology.nodes.map(\.number) == [0, 1, 1023])
    #expect(topology.nodes.flatMap(\.cpus).sorted() == Array(0..<4032))
    #expect(topology.nodes[2].cpus.prefix(65) == (Array(128..<192) + [320])[...])
    #expect(topology.offlineCPUs == Array(4032..<4096))
    #expect(topology.distance(from: 1023, to: 1) == 32 && topology.fallback(from: 1) == [1, 0, 1023])
  }

  @Test func memorylessNode() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-memoryless"))
    #expect(topology.nodes.map(\.memoryBytes) == [32 << 30, 0])
    #expect(topology.nodes[1].cpus.count == 8)
  }

  // Rows of distances have a column for each online node, not for each number.
  @Test func gapInTheNumbers() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-gap"))
    #expect(topology.nodes.map(\.number) == [0, 2])
    #expect(topology.distance(from: 0, to: 2) == 31 && topology.distance(from: 0, to: 1) == nil)
  }

  @Test func kernelWithoutNUMA() {
    let topology = NodeTopology(reading: Fixtures.files("nodes-none"))
    #expect(topology.nodes.count == 1)
    #expect(topology.nodes[0].cpus == [0, 1, 2, 3])
    #expect(topology.nodes[0].memoryBytes == 2_048_000_000)
    #expect(topology.distance(from: 0, to: 0) == 10)
  }
}
