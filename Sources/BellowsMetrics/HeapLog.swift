// What happens to the process heap, in a program's own log.

public import Bellows
public import Logging

/// Tells a logger what changed in the process heap since it was last asked.
///
/// | event (metadata `event`) | level | further metadata |
/// | --- | --- | --- |
/// | `sections` | debug | `count`, `reserved` |
/// | `returned` | debug | `bytes` |
/// | `offline` | info | `count` of sections that went, `offline` of them that are |
/// | `online` | info | `count` of sections that came back, `offline` of them that are left |
/// | `going-offline` | info | `caged`: sections are on their way, and so much of them is out of circulation |
/// | `limit` | warning | `held`, `soft`, `hard` |
///
/// A section that went and came back between two looks is not told; `BELLOWS_LOG` writes each event when it happens.
///
/// Sizes are in bytes. Call `record` from one thread at a time.
public final class HeapLog {
  private let logger: Logger
  private var before: ProcessHeap.Statistics?
  private var wasOver = false

  /// Makes a teller for a logger.
  public init(logger: Logger) { self.logger = logger }

  /// Looks at the process heap; false where the malloc of this process is not Bellows.
  @discardableResult
  public func record() -> Bool {
    guard let now = ProcessHeap.statistics() else { return false }
    record(now, limits: ProcessHeap.limits())
    return true
  }

  /// Tells what figures say that were taken before.
  public func record(_ now: ProcessHeap.Statistics, limits: ProcessHeap.Limits?) {
    defer { before = now }
    if let limits {
      let isOver = limits.soft.map { limits.held > $0 } ?? false
      if isOver, !wasOver {
        logger.warning(
          "the heap holds more than its limit",
          metadata: [
            "event": "limit", "held": "\(limits.held.rawValue)", "soft": "\(limits.soft?.rawValue ?? 0)",
            "hard": "\(limits.hard?.rawValue ?? 0)",
          ])
      }
      wasOver = isOver
    }
    guard let before else { return }
    if now.sections != before.sections {
      logger.debug(
        "sections came or went",
        metadata: ["event": "sections", "count": "\(now.sections)", "reserved": "\(now.reserved.rawValue)"])
    }
    let went = now.offlineSections - before.offlineSections
    if went != 0 {
      logger.info(
        went > 0 ? "sections went offline" : "sections came back online",
        metadata: [
          "event": went > 0 ? "offline" : "online", "count": "\(abs(went))",
          "offline": "\(now.offlineSections)",
        ])
    }
    if now.caged > .zero, before.caged == .zero {
      logger.info(
        "sections are on their way offline",
        metadata: ["event": "going-offline", "caged": "\(now.caged.rawValue)"])
    }
    if now.returned > before.returned {
      logger.debug(
        "memory was returned",
        metadata: ["event": "returned", "bytes": "\((now.returned - before.returned).rawValue)"])
    }
  }
}
