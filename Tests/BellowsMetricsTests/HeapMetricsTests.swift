import Bellows
import BellowsMetrics
import CoreMetrics
import Foundation
import Logging
import MetricsTestKit
import Synchronization
import Testing

@Suite struct HeapMetricsTests {
  private func figures(returned: Int, sections: Int = 2, offline: Int = 0, caged: Int = 0) throws
    -> ProcessHeap.Statistics
  {
    let text = """
      {"schema":1,"reserved":268435456,"committed":8388608,"memmap":4194304,"allocated":5000000,"freeResident":4096,
      "huge":0,"returned":\(returned),"sections":\(sections),"heaps":3,
      "offlineSections":\(offline),"caged":\(caged)}
      """
    return try JSONDecoder().decode(ProcessHeap.Statistics.self, from: Data(text.utf8))
  }

  @Test func namesAndUnitsAreFixed() throws {
    let backend = TestMetrics()
    let metrics = HeapMetrics(dimensions: [("service", "shop")], factory: backend)
    metrics.record(try figures(returned: 1000))
    metrics.record(try figures(returned: 1500, sections: 3, offline: 1, caged: 8192))
    let dimensions = [("service", "shop")]
    func last(_ name: String) throws -> Double? {
      try backend.expectGauge("bellows_heap_\(name)", dimensions).lastValue
    }
    #expect(try last("reserved_bytes") == 268_435_456)
    #expect(try last("allocated_bytes") == 5_000_000)
    #expect(try last("sections") == 3 && last("threads") == 3)
    #expect(try last("offline_sections") == 1 && last("caged_bytes") == 8192)
    let returned = try backend.expectCounter("bellows_heap_returned_bytes_total", dimensions)
    #expect(returned.totalValue == 1500)
  }

  /// The tests run on the system's malloc.
  @Test func withoutTheLibraryNothingIsRecorded() {
    #expect(!HeapMetrics(factory: TestMetrics()).record())
    #expect(!HeapLog(logger: Logger(label: "test")).record())
    #expect(ProcessHeap.limits() == nil && !ProcessHeap.setLimits(soft: .mebibytes(1)))
  }

  @Test func whatChangedIsLogged() throws {
    let lines = Lines()
    var logger = Logger(label: "test") { _ in Handler(lines: lines) }
    logger.logLevel = .trace
    let log = HeapLog(logger: logger)
    let limits = ProcessHeap.Limits(soft: .mebibytes(1), hard: nil, held: .mebibytes(2))
    log.record(try figures(returned: 0), limits: nil)
    log.record(try figures(returned: 4096), limits: limits)
    log.record(try figures(returned: 4096, sections: 3), limits: limits)
    #expect(lines.all == ["warning limit", "debug returned", "debug sections"])
  }

  @Test func sectionsThatGoAndComeAreLogged() throws {
    let lines = Lines()
    let log = HeapLog(logger: Logger(label: "test") { _ in Handler(lines: lines) })
    for (offline, caged) in [(0, 0), (0, 4096), (0, 8192), (2, 0), (2, 0), (1, 0)] {
      log.record(try figures(returned: 0, offline: offline, caged: caged), limits: nil)
    }
    #expect(lines.all == ["info going-offline", "info offline", "info online"])
  }

  private final class Lines: Sendable {
    private let lines = Mutex<[String]>([])
    var all: [String] { lines.withLock { $0 } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
  }

  private struct Handler: LogHandler {
    let lines: Lines
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }
    func log(event: LogEvent) {
      lines.add("\(event.level) \(event.metadata?["event"]?.description ?? "")")
    }
  }
}
