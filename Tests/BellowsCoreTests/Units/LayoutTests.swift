// Offsets and sizes that other code relies on by number.

import BellowsCore
import CShims
import Testing

@Suite struct LayoutTests {
  @Test func shardLines() {
    // Line 0 is the owner's, line 1 everybody's: they must not share a cache line.
    #expect(MemoryLayout<Shard>.offset(of: \.remote) == 64)
    #expect(MemoryLayout<Shard>.offset(of: \.owner) == 0)
    #expect(MemoryLayout<Shard>.size <= 128, "lines 2 and 3 of a granule's descriptors are the object map")
  }

  @Test func threadHeap() {
    #expect(MemoryLayout<ThreadHeap>.offset(of: \.heads) == 0)
    #expect(MemoryLayout<ThreadHeap>.offset(of: \.lockWord) == 320)
    #expect(MemoryLayout<ThreadHeap>.offset(of: \.slots) == Int(ThreadHeap.slotsOffset))
    #expect(MemoryLayout<ThreadHeap>.offset(of: \.foreign) == Int(ThreadHeap.foreignOffset))
    #expect(UInt(MemoryLayout<InlineArray<24, UInt>>.size) == RunBin.ownCount * 8)
    #expect(ThreadHeap.bytes.isAligned(to: 64))
    #expect(UInt(MemoryLayout<InlineArray<40, UInt>>.size) == SizeClass.count * 8)
    #expect(BELLOWS_EMPTY_HEAP_BYTES >= 320, "the hit path reads any of the empty heap's lists")
  }

  @Test func wordsThatAreFoundByOffset() {
    #expect(MemoryLayout<Heap>.offset(of: \.registryWord) == 0)
    #expect(MemoryLayout<Heap>.offset(of: \.commons) == Int(Heap.commonsOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.heaps) == Int(Heap.heapsOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.ticks) == Int(Heap.ticksOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.lastTick) == Int(Heap.lastTickOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.holePages) == Int(Heap.holePagesOffset))
    #expect(MemoryLayout<Limit>.offset(of: \.hardPages) == 8)
    #expect(MemoryLayout<Limit>.offset(of: \.pendingPages) == 16)
    #expect(MemoryLayout<Limit>.offset(of: \.news) == 24)
    #expect(MemoryLayout<Limit>.offset(of: \.told) == 32)
    #expect(MemoryLayout<Limit>.offset(of: \.lastRelief) == 40)
    #expect(MemoryLayout<Limit>.offset(of: \.refusals) == 48)
    #expect(MemoryLayout<Heap>.offset(of: \.cages) == Int(Heap.cagesOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.epoch) == Int(Heap.epochOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.adoption) == Int(Heap.adoptionOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.slotPages) == Int(Heap.slotPagesOffset))
    #expect(MemoryLayout<Zone>.offset(of: \.hasSurplus) == Int(Zone.hasSurplusOffset))
    #expect(MemoryLayout<ThreadHeap>.offset(of: \.lockWord) == Int(ThreadHeap.lockOffset))
    #expect(MemoryLayout<Heap>.offset(of: \.sharedSlotsFilled) == Int(Heap.sharedSlotsFilledOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.transition) == Int(Arena.transitionOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.heaps) == Int(Arena.heapsOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.relocatables) == Int(Arena.relocatablesOffset))
    #expect(MemoryLayout<Relocatables>.offset(of: \.entries) == 16)
    #expect(MemoryLayout<RelocatableBlock>.offset(of: \.word) == 0)
    #expect(MemoryLayout<Section>.offset(of: \.state) == Int(Section.stateOffset))
    #expect(MemoryLayout<Section>.offset(of: \.returnsFreed) == Int(Section.returnsFreedOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.growthWord) == 0)
    #expect(MemoryLayout<Arena>.offset(of: \.balloons) == Int(Arena.balloonsOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.subBlocks) == Int(Arena.subBlocksOffset))
    #expect(MemoryLayout<Arena>.offset(of: \.nodes) == Int(Arena.nodesOffset))
    #expect(MemoryLayout<PageDescriptor>.offset(of: \.references) == Int(PageDescriptor.referencesOffset))
    #expect(MemoryLayout<DeviceRegion>.offset(of: \.uses) == 0)
    #expect(MemoryLayout<Balloon>.offset(of: \.lockWord) == 0)
    #expect(MemoryLayout<SubBlocks>.offset(of: \.lockWord) == 0)
    #expect(MemoryLayout<Zone>.offset(of: \.lockWord) == 0)
    #expect(MemoryLayout<Zone>.offset(of: \.next) == Int(Zone.nextOffset))
    #expect(MemoryLayout<HugeTable>.offset(of: \.lockWord) == 0)
    #expect(MemoryLayout<AbandonedList>.offset(of: \.lockWord) == 0)
    #expect(MemoryLayout<AbandonedList>.offset(of: \.first) == 8)
  }

  @Test func recordsFitTheirPlaces() {
    #expect(UInt(MemoryLayout<Heap>.size) <= Heap.hugeOffset)
    #expect(Heap.hugeOffset + UInt(MemoryLayout<HugeTable>.size) <= Heap.slotsOffset)
    #expect(Heap.slotsOffset + (RunBin.count - RunBin.ownCount) * 8 <= Heap.limitOffset)
    #expect(Heap.limitOffset + UInt(MemoryLayout<Limit>.size) <= Heap.listsOffset)
    #expect(UInt(MemoryLayout<AbandonedList>.size) <= AbandonedList.stride)
    #expect(UInt(MemoryLayout<Section>.size) <= Section.headerBytes)
    #expect(UInt(MemoryLayout<Pageblock>.size) <= Section.blockBytes)
    // The process heap's static storage, and the fixture's.
    #expect(MemoryLayout<Arena>.size <= 1024)
    #expect(MemoryLayout<Zone>.size <= 3072)
    #expect(4096 + Heap.bytes <= UInt(BELLOWS_STATE_BYTES))
  }

  @Test func systemCallsAreNumberedAsInC() {
    let names: [(SystemCall, Int)] = [
      (.reserve, Int(BELLOWS_RESERVE)), (.map, Int(BELLOWS_MAP)), (.commit, Int(BELLOWS_COMMIT)),
      (.protect, Int(BELLOWS_PROTECT)), (.readOnly, Int(BELLOWS_READ_ONLY)),
      (.discard, Int(BELLOWS_DISCARD)), (.reset, Int(BELLOWS_RESET)), (.release, Int(BELLOWS_RELEASE)),
      (.noHuge, Int(BELLOWS_NO_HUGE)), (.huge, Int(BELLOWS_HUGE)),
      (.movePages, Int(BELLOWS_MOVE_PAGES)), (.remap, Int(BELLOWS_REMAP)),
      (.resident, Int(BELLOWS_RESIDENT)), (.bind, Int(BELLOWS_BIND)), (.place, Int(BELLOWS_PLACE)),
      (.populate, Int(BELLOWS_POPULATE)),
      (.guardInstall, Int(BELLOWS_GUARD)), (.guardRemove, Int(BELLOWS_UNGUARD)),
      (.mapHuge, Int(BELLOWS_MAP_HUGE)), (.mapFile, Int(BELLOWS_MAP_FILE)),
      (.fileBytes, Int(BELLOWS_FILE_BYTES)), (.currentNode, Int(BELLOWS_CURRENT_NODE)),
      (.localNodes, Int(BELLOWS_LOCAL_NODES)), (.distances, Int(BELLOWS_DISTANCES)),
      (.allowedNodes, Int(BELLOWS_ALLOWED_NODES)), (.nodeRoom, Int(BELLOWS_NODE_ROOM)),
      (.isLocked, Int(BELLOWS_IS_LOCKED)), (.isWritable, Int(BELLOWS_IS_WRITABLE)),
      (.chargesOpen, Int(BELLOWS_CHARGES_OPEN)),
    ]
    for (call, number) in names { #expect(Int(call.rawValue) == number, "\(call)") }
    #expect(SystemCall(rawValue: UInt32(names.count)) == nil, "a call that this test does not know")
  }

  @Test func granuleWords() {
    let head: UInt = 0x7f00_1234_5640
    #expect(GranuleWord.nothing.bits == 0)
    #expect(GranuleWord(head).isShard && !GranuleWord(head).isTail)
    #expect(GranuleWord.tail(of: head).isTail && GranuleWord.tail(of: head).head == head)
    #expect(!GranuleWord.tail(of: head).isShard)
    #expect(GranuleWord.unowned.isShard)
    #expect(!GranuleWord.nothing.isShard && !GranuleWord.nothing.isTail)
  }

  @Test func runWords() {
    #expect(MemoryLayout<RunWord>.size == Int(RunWord.bytes))
    #expect(!RunWord.nothing.isLive && !RunWord.nothing.isKept)
    for pages in [1, 9, 512, 1 << 20] as [UInt] {
      let run = RunWord.live(pages: pages)
      #expect(run.isLive && run.pages == pages && !run.isGrown && !run.isKept)
      let grown = RunWord.grown(pages: pages)
      #expect(grown.isLive && grown.pages == pages && grown.isGrown && !grown.isKept)
      let kept = RunWord.kept(pages: pages)
      #expect(kept.isKept && kept.pages == pages && !kept.isLive)
    }
  }

  @Test func remoteWords() {
    let block: UInt = 0x7fff_ffff_fff0
    var word = RemoteWord.ownedEmpty
    for count in 1...1024 as ClosedRange<UInt> {
      word = word.pushing(block)
      #expect(word.isOwned && word.block == block && word.count == count)
    }
  }
}
