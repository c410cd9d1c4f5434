import BellowsCore
import CShims
import Glibc

extension ProcessHeap {
  /// Takes sections of the process heap offline: those that are emptiest, of equals the youngest, and those that are on
  /// their way.
  ///
  /// malloc returns no address there any more, and what is freed there goes back to the system at once. Growth takes new
  /// sections; those that are offline stay so until ``online(_:)``.
  ///
  /// - Parameters:
  ///   - amount: How much, rounded up to sections of 128 MiB; zero goes on with those that are on their way.
  ///   - policy: What happens to a section that cannot go as a whole.
  ///   - limit: How long to wait for what is in the way to be freed; at least one pass is made.
  /// - Returns: What came of it. A section that could not go is no error.
  /// - Throws: ``OfflineError/notInstalled``, or ``OfflineError/busy``; nothing has changed then.
  /// - Complexity: A pass takes about 10 us for each thread, 1 us for each live shard, and what the system takes to
  ///   return the memory, about 75 us per MiB. All threads run meanwhile.
  @discardableResult
  public static func offline(
    _ amount: ByteCount, policy: OfflinePolicy = .stay, within limit: Duration = .zero
  ) throws(OfflineError) -> OfflineReport {
    guard isInstalled, let function = unsafe dlsym(nil, "bellows_offline") else { throw .notInstalled }
    let offline = unsafe unsafeBitCast(function, to: Offline.self)
    let flags: UInt32 =
      switch policy {
      case .wholeOnly: UInt32(BELLOWS_OFFLINE_WHOLE)
      case .keepPartial: UInt32(BELLOWS_OFFLINE_PARTIAL)
      case .stay: 0
      }
    var report = bellows_offline_report()
    let error = unsafe offline(
      max(amount.rawValue, 0), UInt32(clamping: limit.milliseconds), flags, nil, &report,
      MemoryLayout<bellows_offline_report>.size)
    if error == EDEADLK { throw .calledByListener }
    if error == EBUSY, report.passes == 0 { throw .busy }
    return OfflineReport(report)
  }

  /// Brings sections of the process heap back, those on their way or offline in part first.
  ///
  /// - Parameter amount: How much, rounded up to sections of 128 MiB; of a section that was offline in part that part comes.
  /// - Throws: ``OfflineError/noneLeft`` where there were fewer (what there was is back), ``OfflineError/notInstalled``, or
  ///   ``OfflineError/busy``.
  /// - Complexity: O(sections).
  public static func online(_ amount: ByteCount) throws(OfflineError) {
    guard isInstalled, let function = unsafe dlsym(nil, "bellows_online") else { throw .notInstalled }
    let online = unsafe unsafeBitCast(function, to: (@convention(c) (Int) -> Int32).self)
    switch online(max(amount.rawValue, 0)) {
    case 0: return
    case ENOMEM: throw .noneLeft
    case EDEADLK: throw .calledByListener
    default: throw .busy
    }
  }

  /// Whether an address lies in a section that is on its way offline, so that it helps to allocate anew what is there
  /// and to free it. False where the malloc of this process is not Bellows.
  ///
  /// - Complexity: One load while no section is on its way, after a look-up by name.
  public static func shouldMove(_ address: UInt) -> Bool {
    guard isInstalled, let function = unsafe dlsym(nil, "bellows_should_move") else { return false }
    return unsafe unsafeBitCast(function, to: (@convention(c) (UInt) -> Int32).self)(address) != 0
  }

  private typealias Offline =
    @convention(c) (
      Int, UInt32, UInt32, UnsafePointer<Int32>?, UnsafeMutablePointer<bellows_offline_report>, Int
    ) -> Int32
}

extension OfflineReport {
  fileprivate init(_ report: bellows_offline_report) {
    taken = .bytes(report.taken)
    left = .bytes(report.left)
    returned = .bytes(report.returned)
    sections = Int(report.sections)
    partialSections = Int(report.partial)
    passes = Int(report.passes)
    pieces = unsafe withUnsafeBytes(of: report.pieces) { memory in
      unsafe memory.bindMemory(to: UInt32.self).map { Int($0) }
    }
    let count = Int(report.blocker_count)
    blockers = unsafe withUnsafeBytes(of: report.blockers) { memory in
      unsafe memory.bindMemory(to: bellows_blocker.self).prefix(count).compactMap { blocker in
        Blocker.Reason(blocker.kind, detail: blocker.detail).map {
          Blocker(reason: $0, count: blocker.count, byteCount: .bytes(blocker.bytes))
        }
      }
    }
  }
}
