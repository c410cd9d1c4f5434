// GranuleMap and HoleHints against a naive model: an array of booleans.

import BellowsCore
import Testing

@Suite struct GranuleMapTests {
  @Test(arguments: [256, 1024, 8192, 65536] as [UInt])
  func answersAsTheModelDoes(granules: UInt) throws {
    let memory = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Int(GranuleMap.bytes(for: granules)), alignment: 8)
    defer { unsafe memory.deallocate() }
    let map = GranuleMap(address: UInt(bitPattern: memory.baseAddress), granules: granules)
    map.clear()
    var hints = HoleHints()
    var model = [Bool](repeating: false, count: Int(granules))
    var random = Random(stream: 60 + UInt64(granules))
    var runs: [Range<UInt>] = []
    for step in 0..<(granules > 8192 ? 300 : 1500) {
      let note = "\(granules) granules, step \(step)"
      if random.chance(oneIn: 2) || runs.isEmpty {
        let length = random.spread(1...(granules / 8))
        let first = firstFree(model, length)
        let from = hints.first(for: length)
        let found = from < granules ? map.firstHole(length, from: from) : nil
        try check(found, is: first, "hole of \(length) from \(from), \(note)")
        hints.noHole(length, before: found ?? granules)
        guard let found else { continue }
        map.insert(found, count: length)
        for place in found..<(found + length) { model[Int(place)] = true }
        runs.append(found..<(found + length))
      } else {
        let run = runs.remove(at: Int(random.below(UInt(runs.count))))
        let hole = map.remove(run.lowerBound, count: UInt(run.count))
        for place in run { model[Int(place)] = false }
        let around = freeAround(model, run)
        try check(hole.start..<(hole.start + hole.length), is: around, "hole of what was removed, \(note)")
        hints.hole(hole.length, at: hole.start)
      }
      let place = random.below(granules)
      try check(map.contains(place), is: model[Int(place)], "contains(\(place)), \(note)")
    }
  }

  private func firstFree(_ model: [Bool], _ length: UInt) -> UInt? {
    var count: UInt = 0
    for (place, isUsed) in model.enumerated() {
      count = isUsed ? 0 : count + 1
      if count == length { return UInt(place) + 1 - length }
    }
    return nil
  }

  private func freeAround(_ model: [Bool], _ run: Range<UInt>) -> Range<UInt> {
    var first = Int(run.lowerBound)
    var end = Int(run.upperBound)
    while first > 0, !model[first - 1] { first -= 1 }
    while end < model.count, !model[end] { end += 1 }
    return UInt(first)..<UInt(end)
  }
}
