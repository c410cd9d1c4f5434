// The figures of the process heap as metrics, with names and units that do not change. Handlers are made once; a
// record costs what `ProcessHeap.statistics` does.

public import Bellows
public import CoreMetrics

/// Writes the figures of the process heap to a metrics backend.
///
/// | name | kind | unit |
/// | --- | --- | --- |
/// | `bellows_heap_reserved_bytes` | gauge | bytes of address space of sections |
/// | `bellows_heap_committed_bytes` | gauge | bytes of it that are accessible |
/// | `bellows_heap_memmap_bytes` | gauge | bytes of page descriptors |
/// | `bellows_heap_allocated_bytes` | gauge | bytes of pages that blocks lie in, huge blocks included |
/// | `bellows_heap_free_resident_bytes` | gauge | bytes of free pages that were not yet returned |
/// | `bellows_heap_huge_bytes` | gauge | bytes of blocks that are mappings of their own |
/// | `bellows_heap_returned_bytes_total` | counter | bytes returned to the system since the start |
/// | `bellows_heap_sections` | gauge | number of sections |
/// | `bellows_heap_threads` | gauge | number of thread heaps |
/// | `bellows_heap_offline_sections` | gauge | number of sections that are offline |
/// | `bellows_heap_caged_bytes` | gauge | free bytes out of circulation, in sections on their way offline |
///
/// Call `record` now and then, from a timer of the program's own. From one thread at a time, or a return may be counted
/// twice.
public final class HeapMetrics {
  private let gauges: [Gauge]
  private let returned: Counter
  private var returnedBefore = 0

  private static let names = [
    "reserved_bytes", "committed_bytes", "memmap_bytes", "allocated_bytes", "free_resident_bytes",
    "huge_bytes",
    "sections", "threads", "offline_sections", "caged_bytes",
  ]

  /// Makes the handlers.
  ///
  /// - Parameters:
  ///   - dimensions: Labels that all of them carry.
  ///   - factory: The backend; by default the one of `MetricsSystem`.
  public init(dimensions: [(String, String)] = [], factory: any MetricsFactory = MetricsSystem.factory) {
    gauges = Self.names.map {
      Gauge(label: "bellows_heap_\($0)", dimensions: dimensions, aggregate: false, factory: factory)
    }
    returned = Counter(label: "bellows_heap_returned_bytes_total", dimensions: dimensions, factory: factory)
  }

  /// Records the figures of this moment; false, and nothing recorded, where the malloc of this process is not Bellows.
  @discardableResult
  public func record() -> Bool {
    guard let now = ProcessHeap.statistics() else { return false }
    record(now)
    return true
  }

  /// Records figures that were taken before.
  public func record(_ now: ProcessHeap.Statistics) {
    let values = [
      now.reserved.rawValue, now.committed.rawValue, now.memmap.rawValue, now.allocated.rawValue,
      now.freeResident.rawValue, now.huge.rawValue, now.sections, now.heaps, now.offlineSections,
      now.caged.rawValue,
    ]
    for (gauge, value) in zip(gauges, values) { gauge.record(value) }
    returned.increment(by: max(0, now.returned.rawValue - returnedBefore))
    returnedBefore = now.returned.rawValue
  }
}
