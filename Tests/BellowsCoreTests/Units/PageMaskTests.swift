// PageMask and BuddyMask against a naive model: 512 booleans.

import BellowsCore
import Testing

private protocol ChangingMask {
  mutating func insert(_ first: UInt, count: UInt)
  mutating func remove(_ first: UInt, count: UInt)
}

extension PageMask: ChangingMask {}
extension BuddyMask: ChangingMask {}

@Suite struct PageMaskTests {
  @Test func answersAsTheModelDoes() throws {
    var random = Random(stream: 1)
    for density in [2, 8, 32, 200] as [UInt] {
      var mask = BuddyMask()
      var model = [Bool](repeating: false, count: 512)
      for step in 0..<120 {
        change(&mask, &model, density, &random)
        let note = "density \(density), step \(step)"
        try compareMembers(mask.pages, model, &random, note)
        try compareFree(mask, model, &random, note)
      }
    }
  }

  private func change(
    _ mask: inout some ChangingMask, _ model: inout [Bool], _ density: UInt, _ random: inout Random
  ) {
    let first = random.below(512)
    let count = min(random.spread(0...(1024 / density)), 512 - first)
    // Inserts and removals in equal measure, so that the mask stays partly full.
    let value = random.chance(oneIn: 2)
    if value { mask.insert(first, count: count) } else { mask.remove(first, count: count) }
    for place in Int(first)..<Int(first + count) { model[place] = value }
  }

  @Test func singleMembers() throws {
    var random = Random(stream: 3)
    var mask = PageMask()
    var model = [Bool](repeating: false, count: 512)
    for step in 0..<2000 {
      let member = random.below(512)
      model[Int(member)] = random.chance(oneIn: 2)
      if model[Int(member)] { mask.insert(member) } else { mask.remove(member) }
      if step.isMultiple(of: 50) { try compareMembers(mask, model, &random, "step \(step)") }
    }
  }

  private func compareMembers(
    _ mask: PageMask, _ model: [Bool], _ random: inout Random, _ note: String
  ) throws {
    for place in 0..<512 {
      try check(mask.contains(UInt(place)), is: model[place], "contains(\(place)), \(note)")
    }
    try check(mask.count, is: UInt(model.count { $0 }), "count, \(note)")
    for _ in 0..<8 {
      let first = random.below(513)
      let count = random.below(513 - first)
      let members = model[Int(first)..<Int(first + count)].count { $0 }
      try check(mask.count(first, count: count), is: UInt(members), "count(\(first), \(count)), \(note)")
      var rest = mask
      try check(rest.take(first, count: count), is: UInt(members), "take(\(first), \(count)), \(note)")
      try check(rest.count(first, count: count), is: 0, "left of take(\(first), \(count)), \(note)")
      try check(rest.count + UInt(members), is: mask.count, "beside take(\(first), \(count)), \(note)")
      for member in [true, false] {
        let found = model[Int(first)...].firstIndex(of: member).map { UInt($0) }
        try check(mask.next(member: member, from: first), is: found, "next(\(member), \(first)), \(note)")
      }
      let start = model[Int(first)...].firstIndex(of: true)
      let run = mask.nextRun(from: first)
      try check(run?.first, is: start.map { UInt($0) }, "nextRun(\(first)), \(note)")
      if let start, let run {
        let end = model[start...].firstIndex(of: false) ?? 512
        try check(run.count, is: UInt(end - start), "length of nextRun(\(first)), \(note)")
      }
    }
  }

  private func compareFree(_ mask: BuddyMask, _ model: [Bool], _ random: inout Random, _ note: String) throws
  {
    var largest: UInt?
    for order in 0...9 as ClosedRange<UInt> {
      let size = 1 << Int(order)
      let starts = stride(from: 0, to: 512, by: size)
      let first = starts.first { start in !model[start..<(start + size)].contains(true) }
      try check(mask.firstFree(order: order), is: first.map { UInt($0) }, "firstFree(\(order)), \(note)")
      if first != nil { largest = order }
    }
    try check(mask.largestFreeOrder, is: largest, "largestFreeOrder, \(note)")
    for _ in 0..<6 {
      let length = random.spread(1...64)
      let alignment: UInt = 1 << random.below(6)
      let origin = random.below(1 << 20)
      let limit = random.below(random.chance(oneIn: 2) ? 65 : 513)
      let found = (0..<512).first { start in
        (origin + UInt(start)).isAligned(to: alignment) && UInt(start) + length <= limit
          && !model[start..<(start + Int(length))].contains(true)
      }
      let answer = mask.pages.firstFreeRun(length: length, alignment: alignment, origin: origin, limit: limit)
      try check(
        answer, is: found.map { UInt($0) },
        "firstFreeRun(\(length), \(alignment), \(origin), \(limit)), \(note)")
    }
  }

  @Test func setAlgebra() throws {
    var random = Random(stream: 2)
    for step in 0..<50 {
      var (a, b) = (PageMask(), PageMask())
      var (modelA, modelB) = ([Bool](repeating: false, count: 512), [Bool](repeating: false, count: 512))
      for _ in 0..<20 {
        change(&a, &modelA, 8, &random)
        change(&b, &modelB, 8, &random)
      }
      var union = a
      union.formUnion(b)
      var intersection = a
      intersection.formIntersection(complementOf: b)
      let difference = a.subtracting(b)
      for place in 0..<512 {
        let at = UInt(place)
        try check(union.contains(at), is: modelA[place] || modelB[place], "union, step \(step)")
        try check(intersection.contains(at), is: modelA[place] && !modelB[place], "complement, step \(step)")
        try check(difference.contains(at), is: modelA[place] && !modelB[place], "difference, step \(step)")
      }
    }
  }

  @Test func emptyAndFull() {
    var mask = BuddyMask()
    #expect(mask.largestFreeOrder == 9)
    #expect(mask.firstFree(order: 9) == 0)
    #expect(mask.pages.nextRun(from: 0) == nil)
    mask.insert(0, count: 512)
    #expect(mask.largestFreeOrder == nil)
    #expect(mask.firstFree(order: 0) == nil)
    #expect(mask.pages.count == 512)
    #expect(mask.pages.next(member: true, from: 512) == nil)
    mask.remove(511, count: 1)
    #expect(mask.firstFree(order: 0) == 511)
    #expect(mask.pages.firstFreeRun(length: 1, alignment: 1, origin: 0, limit: 511) == nil)
  }
}
