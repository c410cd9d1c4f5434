import Testing

@testable import Bellows

@Suite struct NumaParserTests {
  @Test func numaMaps() throws {
    let maps = NumaMaps(
      parsing: """
        55d0c0000000 default file=/usr/bin/a\\040b mapped=10 N0=6 N3=4 kernelpagesize_kB=4
        55d0c1000000 default heap anon=3 dirty=3 N0=3 kernelpagesize_kB=4
        7f0000000000 bind=static:1 anon=1024 dirty=1024 N1=1024 kernelpagesize_kB=4
        7f1000000000 prefer (many)=static:0-2 anon=2 dirty=2 N2=2 kernelpagesize_kB=4
        7f2000000000 interleave:0-1 huge anon=2 dirty=2 N0=1 N1=1 kernelpagesize_kB=2048
        7ffc00000000 default stack anon=5 dirty=5 N12=5 kernelpagesize_kB=4
        nonsense

        """)
    #expect(maps.mappings.count == 6)
    #expect(maps.mappings[0].file == "/usr/bin/a\\040b" && maps.mappings[0].pages == [0: 6, 3: 4])
    #expect(maps.mappings[1].role == "heap")
    #expect(maps.mappings[2].policy == "bind=static:1" && maps.mappings[2].pages == [1: 1024])
    #expect(maps.mappings[3].policy == "prefer (many)=static:0-2" && maps.mappings[3].pages == [2: 2])
    #expect(maps.bytes { $0.start == 0x7f20_0000_0000 } == [0: 2 << 20, 1: 2 << 20])
    #expect(maps.mappings[5].role == "stack" && maps.mappings[5].pages == [12: 5])
  }

  @Test func mappings() {
    let maps = ProcessMappings(
      parsing: """
        55d0c0000000-55d0c0001000 r--p 00000000 08:01 42   /usr/bin/a b
        55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0    [heap]
        7f0000000000-7f0008000000 ---p 00000000 00:00 0\u{20}
        ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]
        """)
    #expect(maps.mappings.map(\.name) == ["/usr/bin/a b", "[heap]", ""])
    #expect(maps.mappings.map(\.isAnonymous) == [false, true, true])
    #expect(maps.mappings[2].range.byteCount == .mebibytes(128))
  }

  @Test func nodeMasks() {
    #expect(NodeMask([0, 3, 63])?.bits == UInt64(1) | 8 | 1 << 63)
    #expect(NodeMask([64]) == nil && NodeMask([NodeNumber(rawValue: -1)]) == nil)
    #expect(NodeMask(bits: 0b1001).nodes == [0, 3])
  }

  // Each node as often as its weight, and never two of the light one before the heavy one had its turn.
  @Test func weightsBecomeASchedule() {
    let schedule = PlacementPolicy.weighted([0: 3, 1: 1]).schedule ?? []
    #expect(schedule.count == 4 && schedule.filter { $0 == 0 }.count == 3)
    let even = PlacementPolicy.weighted([0: 1, 2: 1]).schedule ?? []
    #expect(Set(even) == [0, 2] && even.count == 2)
    #expect(PlacementPolicy.weighted([0: 0]).schedule == nil && PlacementPolicy.weighted([:]).schedule == nil)
    #expect(PlacementPolicy.weighted([0: 64, 1: 1]).schedule == nil)
    #expect(PlacementPolicy.local.schedule == [])
  }

  // The nodes that a drain leaves out never stay in a policy, and a policy never becomes a bind.
  @Test func avoidedNodesLeaveAPolicy() {
    let two = KernelPolicy.preferring(0b110)
    #expect(two.avoiding(0b010, others: 0b101) == .preferring(0b100))
    #expect(two.avoiding(0b110, others: 0b001) == .preferring(0b001))
    #expect(KernelPolicy.local.avoiding(0b010, others: 0b101) == .preferring(0b101))
    #expect(two.avoiding(0, others: 0) == two)
  }

  @Test func fallbackIsByDistanceThenNumber() {
    let topology = NodeTopology.current()
    let first = topology.nodes[0].number
    #expect(topology.fallback(from: first).first == first || topology.nodes[0].memoryBytes == 0)
    #expect(topology.fallback(from: 1023).isEmpty)
  }
}
