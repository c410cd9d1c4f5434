// The kernel's list format for CPUs and nodes: `0-3,8,10-11`. Empty text is an empty list (a node without CPUs).

/// A list of CPU or node numbers as the kernel writes it.
package struct NumberList: Hashable, Sendable {
  /// The numbers in rising order, each once.
  package let numbers: [Int]

  /// Parses `0-3,8`; nil where the text is something else.
  package init?(parsing text: some StringProtocol) {
    var numbers: Set<Int> = []
    for part in text.trimmed.split(separator: ",") {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard ends.count <= 2, let low = ends[0], let high = ends[ends.count - 1], low >= 0, low <= high,
        high < Self.bound
      else { return nil }
      numbers.formUnion(low...high)
    }
    self.numbers = numbers.sorted()
  }

  /// Makes a list of numbers.
  package init(_ numbers: some Sequence<Int>) { self.numbers = Set(numbers).sorted() }

  /// The same list in the kernel's format.
  package var text: String {
    var runs: [ClosedRange<Int>] = []
    for number in numbers {
      if let last = runs.last, last.upperBound + 1 == number {
        runs[runs.count - 1] = last.lowerBound...number
      } else {
        runs.append(number...number)
      }
    }
    return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
      .joined(separator: ",")
  }

  // Far above what any kernel is built for (8192 CPUs, 1024 nodes); keeps nonsense from filling memory.
  private static let bound = 1 << 16
}
