// Real threads. No pool of tasks: a test that hands work from thread to thread needs all of them at once, and
// the thread sanitizer understands pthread_create and pthread_join.

import CShims
import Glibc

private final class Job {
  let body: () throws -> Void
  var error: (any Error)?
  init(_ body: @escaping () throws -> Void) { self.body = body }
}

/// A thread that runs a closure; `join` throws what the closure threw.
struct TestThread: ~Copyable {
  private let id: pthread_t
  private let job: Job

  init(_ body: @escaping @Sendable () throws -> Void) {
    let job = Job(body)
    var id = pthread_t()
    let raw = unsafe Unmanaged.passRetained(job).toOpaque()
    let result = unsafe pthread_create(
      &id, nil,
      { raw in
        let job = unsafe Unmanaged<Job>.fromOpaque(raw!).takeRetainedValue()
        do { try job.body() } catch { job.error = error }
        return nil
      }, raw)
    precondition(result == 0, "pthread_create failed")
    self.id = id
    self.job = job
  }

  consuming func join() throws {
    pthread_join(id, nil)
    if let error = job.error { throw error }
  }
}

/// Runs `body` in `count` threads at once, waits for all, and throws what one of them threw.
func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
  try inThreads(from: 0, to: count, body)
}

private func inThreads(from index: Int, to count: Int, _ body: @escaping @Sendable (Int) throws -> Void)
  throws
{
  guard index < count else { return }
  let thread = TestThread { try body(index) }
  do {
    try inThreads(from: index + 1, to: count, body)
  } catch {
    try? thread.join()
    throw error
  }
  try thread.join()
}

/// Slots through which threads hand words to each other, in memory of their own.
struct Slots: Sendable {
  private let memory: Memory
  let count: UInt

  init(_ count: UInt) {
    self.count = count
    memory = Memory(count * 8)
  }

  private func place(_ index: UInt) -> UInt { memory.address + index * 8 }

  /// Puts `word` into slot `index` and answers what was there.
  func exchange(_ index: UInt, _ word: UInt) -> UInt { bellows_exchange(place(index), word) }

  func store(_ index: UInt, _ word: UInt) { bellows_store_release(place(index), word) }
  func load(_ index: UInt) -> UInt { bellows_load_acquire(place(index)) }

  /// Adds to slot `index`; answers what was there.
  @discardableResult
  func add(_ index: UInt, _ value: UInt) -> UInt { bellows_fetch_add(place(index), value) }
}
