// A daemon that gives an arena the size that is asked for: the balloon's work by sub-blocks of 2 MiB, from outside of
// the engine.
//
//     $ plug-daemon --capacity 1024
//     resize 200
//     {"plugged":200,"reasons":[],"requested":200,"retryIn":0,"state":"done"}
//     use 150                         a program allocates 150 MiB
//     resize 64
//     {"plugged":152,"reasons":[{"reason":"in use","subBlocks":76,"usedPages":38400}],"requested":64,...
//     drop                            and frees them: the next round, after the delay, gets there
//
// Sizes are in MiB. `use`, `thin` and `drop` stand for the program that lives in the arena.

import ArgumentParser
import Bellows
import Foundation

@main
struct PlugDaemon: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plug-daemon",
    abstract: "Plugs and unplugs memory of an arena until it has the size that is asked for.",
    discussion: "Commands on standard input: resize MIB, use MIB, thin, drop, wait MILLISECONDS, status.")

  @Option(help: "The most that the arena can grow to, in MiB.") var capacity = 1024
  @Option(help: "Milliseconds before the second try; it doubles up to six times that.") var retry = 50_000

  private struct Status: Encodable {
    var requested: Int
    var plugged: Int
    var state: String
    var reasons: [Policy.Reason]
    /// Milliseconds until the next round; 0: it is due, or none is to come.
    var retryIn: Int
  }

  /// Rounds are tried again after delays that double, since what is in use now may be free later. A new request is
  /// looked at at once.
  private struct Backoff {
    let first: Int
    var delay = 0
    var due: ContinuousClock.Instant?

    mutating func note(isDone: Bool) {
      delay = isDone ? 0 : min(max(first, delay * 2), first * 6)
      due = isDone ? nil : .now + .milliseconds(delay)
    }

    /// Milliseconds until the next round; nil: none is due.
    var left: Int? { due.map { max(0, Int(($0 - .now) / .milliseconds(1))) } }
  }

  func run() throws {
    let arena = try Arena(reserving: .mebibytes(capacity))
    let policy = Policy(subBlocks: try arena.subBlocks())
    var commands = Commands()
    var backoff = Backoff(first: retry)
    var requested = 0
    var live: [Load] = []

    func round(_ backoff: inout Backoff, _ commands: inout Commands) {
      let round = policy.advance(to: .mebibytes(requested)) { commands.isResizeNext() }
      if round.isOutdated { return }
      backoff.note(isDone: round.reasons.isEmpty)
      report(requested, policy, round.reasons, backoff)
    }

    while true {
      let line = commands.next(milliseconds: backoff.left ?? -1)
      if line == nil, commands.isAtEnd { return }
      let words = (line ?? "retry").split(separator: " ")
      switch (words.first.map(String.init) ?? "", words.last.flatMap { Int($0) } ?? 0) {
      case ("resize", let size):
        requested = max(0, size)
        backoff = Backoff(first: retry)
        round(&backoff, &commands)
      case ("retry", _): round(&backoff, &commands)
      case ("use", let size):
        for _ in 0..<(size * 16) { if let load = Load(in: arena) { live.append(load) } }
      case ("thin", _): live = live.enumerated().filter { $0.offset % 64 == 0 }.map(\.element)
      case ("drop", _): live = []
      case ("wait", let time): Thread.sleep(forTimeInterval: Double(time) / 1000)
      case ("status", _): report(requested, policy, [], backoff)
      case (let other, _): print("no such command: \(other)")
      }
    }
  }

  private func report(_ requested: Int, _ policy: Policy, _ reasons: [Policy.Reason], _ backoff: Backoff) {
    let plugged = policy.plugged(policy.subBlocks.all).rawValue >> 20
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let status = Status(
      requested: requested, plugged: plugged, state: backoff.left == nil ? "done" : "again", reasons: reasons,
      retryIn: backoff.left ?? 0)
    print((try? encoder.encode(status)).map { String(decoding: $0, as: UTF8.self) } ?? "")
    fflush(nil)
  }
}

/// Memory that the program in the arena uses: 64 KiB, written.
private final class Load {
  private let allocation: Allocation

  /// Nil: the arena has no more. What is not plugged is not there; the arena adds no sections of its own, since all of
  /// its capacity is the daemon's.
  init?(in arena: Arena) {
    guard var allocation = try? arena.allocate(pages: 16) else { return nil }
    do {
      var bytes = allocation.mutableBytes
      for page in 0..<16 { bytes.storeBytes(of: 1, toByteOffset: page << 12, as: UInt8.self) }
    }
    self.allocation = allocation
  }
}
