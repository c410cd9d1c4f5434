// Asking, and what becomes of a request whose answer is not waited for: it is withdrawn, so that the process ends the work, and
// nothing of it stays.

import BellowsCore
import CShims
import CTool
import Glibc

extension ControlChannel {
  /// Asks, and waits for the answer for at most so many seconds.
  ///
  /// A request that is not answered in time is withdrawn, and dropped by the process where it comes to it later. So is one
  /// whose tool gets a signal to end: `interrupted` is thrown.
  func ask(
    _ command: Command, _ arguments: [UInt], seconds: Double, waiting: () -> Void = {}
  ) throws(TargetError) -> Answer {
    let end = ContinuousClock.now + .milliseconds(Int(seconds * 1000))
    try lock(until: end)
    bellows_interruption_watch()
    defer { bellows_interruption_end() }
    try endOthers(until: end)
    for _ in 0..<8 {
      let number = request(command, arguments, seconds: seconds)
      guard let answer = try answer(to: number, until: end, waiting) else { continue }
      // One that came with the answer: the work is done, and the tool ends all the same.
      let signal = bellows_interruption()
      if signal != 0 { bellows_interruption_follow(signal) }
      return answer
    }
    throw .failed(process.id, what: "lost the request: somebody else writes into its page of control")
  }

  private var word: UInt { bellows_control_state(page) }

  /// The lock is ours, so a request that is under way is that of somebody who went away, or it is none.
  private func endOthers(until end: ContinuousClock.Instant) throws(TargetError) {
    while bellows_load32(word) & 3 == UInt32(BELLOWS_TAKEN) {
      bellows_store32(bellows_control_cancelled(page), 1)
      wake()
      try expectTime(until: end, "it is busy with a request of somebody else")
      try expectNoInterruption()
      bellows_futex_wait_shared(word, bellows_load32(word), 50)
    }
  }

  /// Writes a request, and returns its number.
  private func request(_ command: Command, _ arguments: [UInt], seconds: Double) -> UInt32 {
    let shared = Ref<bellows_control>(page)
    let number = (bellows_load32(word) >> 2 &+ 1) & 0x3fff_ffff
    shared.it.command = command.rawValue
    shared.it.deadline = bellows_clock_milliseconds() + UInt64(seconds * 1000)
    bellows_store32(bellows_control_cancelled(page), 0)
    for place in 0..<8 {
      bellows_control_set_argument(page, Int32(place), place < arguments.count ? UInt64(arguments[place]) : 0)
    }
    bellows_store32(word, number << 2 | UInt32(BELLOWS_REQUESTED))
    bellows_futex_wake_shared(word)
    return number
  }

  /// Waits for the answer; nil where the request was not taken.
  private func answer(
    to number: UInt32, until end: ContinuousClock.Instant, _ waiting: () -> Void
  ) throws(TargetError) -> Answer? {
    let requested = number << 2 | UInt32(BELLOWS_REQUESTED)
    let taken = number << 2 | UInt32(BELLOWS_TAKEN)
    let done = number << 2 | UInt32(BELLOWS_DONE)
    let idle = number << 2 | UInt32(BELLOWS_IDLE)
    var wasTaken = false
    while true {
      let state = bellows_load32(word)
      switch state {
      case done:
        let answer = copyAnswer()
        bellows_store32(word, idle)
        return answer
      case taken: wasTaken = true
      case requested: break
      default:
        // Not the process: it drops what came too late, and what it took in a moment in which somebody overwrote it.
        if state == idle, !wasTaken { return nil }
        withdraw(number)
        throw .failed(
          process.id, what: "was asked, but somebody else wrote into its page of control: see what was done")
      }
      do throws(TargetError) {
        try expectTime(
          until: end, state == requested ? "it did not take the request" : "the work goes on there")
        try expectNoInterruption()
      } catch {
        withdraw(number)
        // It came to an end all the same, and not because of that.
        let isUndone = Ref<bellows_control>(page).it.error == EINTR
        if bellows_load32(word) == done, !isUndone || error.status == 5 { continue }
        throw error
      }
      bellows_futex_wait_shared(word, state, 50)
      waiting()
    }
  }

  /// Takes a request back, and gives the process a moment to end what it began.
  private func withdraw(_ number: UInt32) {
    let taken = number << 2 | UInt32(BELLOWS_TAKEN)
    bellows_store32(bellows_control_cancelled(page), 1)
    let wasWaiting = bellows_compare_exchange32(
      word, number << 2 | UInt32(BELLOWS_REQUESTED), number << 2 | UInt32(BELLOWS_IDLE))
    let end = ContinuousClock.now + .seconds(2)
    while !wasWaiting, bellows_load32(word) == taken, ContinuousClock.now < end {
      bellows_futex_wait_shared(word, taken, 50)
    }
  }

  private func expectNoInterruption() throws(TargetError) {
    let signal = bellows_interruption()
    if signal != 0 { throw .interrupted(process.id, signal: signal) }
  }
}
