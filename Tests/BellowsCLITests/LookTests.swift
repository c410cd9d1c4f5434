import Bellows
import Foundation
import Glibc
import Testing

@testable import BellowsCLI

/// `bellows ls` on live processes under the library.
@Suite struct LookTests {
  private struct Listing: Decodable {
    struct Row: Decodable {
      let size: Int
      let state: String
      let removable: Bool?
      let used: Int
      let resident: Int
      let blockers: Int?
    }
    let process: Int32
    let version: String
    let consistency: String
    let memory: [Row]
    let summary: [String: Int]
  }

  private func listing(_ target: String) throws -> Listing {
    let result = try Bench.bellows("ls", "-J", "--output-all", target)
    #expect(result.status == 0, "\(result)")
    return try JSONDecoder().decode(Listing.self, from: Data(result.output.utf8))
  }

  @Test func idleProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    let before = target.resident
    let listing = try listing(target.name)
    #expect(listing.process == target.child.processID && listing.consistency == "whole")
    #expect(listing.memory.count == 1 && listing.memory[0].state == "online")
    // 100,000 blocks of 1024, and a run of 3 MiB.
    let used = listing.memory[0].used
    #expect(used > 100 << 20 && used < 110 << 20, "\(used)")
    #expect(listing.memory[0].removable == false && (listing.memory[0].blockers ?? 0) > 5000)
    #expect(listing.summary["online"] == 128 << 20)
    // Looking leaves no trace.
    #expect(target.resident == before)
  }

  /// Resident bytes are the kernel's: what smaps says of the same range, but for the pages of zeros in it.
  @Test func residentBytesAreTheKernels() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    let listing = try listing(target.name)
    #expect(abs(listing.memory[0].resident - target.resident) < 2 << 20)
    #expect(listing.memory[0].resident >= listing.memory[0].used)
  }

  @Test func stoppedProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    let running = try listing(target.name)
    target.send(SIGSTOP)
    let stopped = try listing(target.name)
    #expect(stopped.memory.map(\.used) == running.memory.map(\.used))
  }

  /// Whatever is seen of a process that changes all the time, it adds up.
  @Test func busyProcess() throws {
    guard Bench.isComplete else { return }
    let target = try Target("busy", "4")
    for round in 0..<20 {
      if round == 10 { target.send(SIGSTOP) }
      let result = try Bench.bellows("ls", "-J", "-a", "--output-all", target.name)
      #expect(result.status == 0, "\(result)")
      let listing = try JSONDecoder().decode(Listing.self, from: Data(result.output.utf8))
      for row in listing.memory {
        #expect(row.size == 128 << 20 && row.used <= 126 << 20 && row.resident <= 128 << 20)
        #expect(row.state == "online")
      }
      #expect(listing.memory.reduce(0) { $0 + $1.used } > 1 << 20)
    }
  }

  @Test func processesByName() throws {
    guard Bench.isComplete else { return }
    // A name of its own: others of these tests have targets too, one of them of another version.
    let folder = try TemporaryFolder()
    let name = "named-\(getpid())"
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/\(name)", withDestinationPath: "\(Bench.programs)/target")
    let target = try Target("idle", program: "\(folder.path)/\(name)")
    let all = try Bench.bellows("ls")
    let row = all.output.split(separator: "\n").map { $0.split(separator: " ") }.first {
      $0[0] == target.name
    }
    #expect(all.status == 0 && row?[1] == Substring(name), "\(all.output)")
    let named = try Bench.bellows("ls", name)
    #expect(named.status == 0 && named.output.contains("RANGE"), "\(named)")
  }

  @Test func childOfAForkIsATargetOfItsOwn() throws {
    guard Bench.isComplete else { return }
    let target = try Target("fork")
    let child = try #require(target.forked)
    let parents = try listing(target.name).memory.reduce(0) { $0 + $1.used }
    let childs = try listing("\(child)").memory.reduce(0) { $0 + $1.used }
    #expect(childs > parents + 90 << 20)
  }

  @Test func noHeapThere() throws {
    guard Bench.isComplete else { return }
    let plain = try Child(["sleep", "60"], environment: Bench.environment())
    defer {
      kill(plain.processID, SIGKILL)
      _ = try? plain.wait()
    }
    let result = try Bench.bellows("ls", "\(plain.processID)")
    #expect(result.status == 4 && result.errors.contains("does not run on Bellows"), "\(result)")
    let off = try Target("idle", environment: ["BELLOWS_OFF": "1"])
    let aside = try Bench.bellows("ls", off.name)
    #expect(aside.status == 4 && !aside.errors.isEmpty, "\(aside)")
  }

  @Test func noProcessThere() throws {
    #expect(try Bench.bellows("ls", "4194304").status == 1)
    #expect(try Bench.bellows("ls", "no-such-process").status == 1)
  }

  /// The same library under another version's name.
  @Test func otherVersionIsRefusedByName() throws {
    guard Bench.isComplete else { return }
    var bytes = try Data(contentsOf: URL(fileURLWithPath: Bench.library))
    var header = Data("Bellows\0".utf8)
    header.append(contentsOf: [UInt8(TargetHeader.knownLayout), 0, 0, 0])
    let place = try #require(bytes.range(of: header)).upperBound + 4
    bytes.replaceSubrange(place..<place + 6, with: Data("9.8.7\0".utf8))
    let folder = try TemporaryFolder()
    try folder.write([UInt8](bytes), to: "libbellows-malloc.so", mode: 0o755)
    let target = try Target("idle", library: "\(folder.path)/libbellows-malloc.so")
    let result = try Bench.bellows("ls", target.name)
    #expect(result.status == 1 && result.errors.contains("runs on Bellows 9.8.7"), "\(result)")
    #expect(result.errors.contains("this tool is \(BellowsVersion.current)"))
    let all = try Bench.bellows("ls")
    #expect(all.output.contains("version 9.8.7"), "\(all.output)")
  }

  /// A library whose file has another name, and is gone since.
  @Test func fileNeedNotBeThere() throws {
    guard Bench.isComplete else { return }
    let folder = try TemporaryFolder()
    try folder.copy(Bench.library, to: "other.so")
    let target = try Target("idle", library: "\(folder.path)/other.so")
    try FileManager.default.removeItem(atPath: "\(folder.path)/other.so")
    #expect(try Bench.bellows("ls", target.name).status == 0)
  }

  @Test func otherUsersProcessIsRefused() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    guard let result = try Bench.bellowsAsNobody("ls", target.name) else { return }
    #expect(result.status == 1 && result.output.isEmpty, "\(result)")
    #expect(result.errors.contains("belongs to root"), "\(result)")
    let all = try Bench.bellowsAsNobody("ls")
    let processes = all?.output.split(separator: "\n").compactMap { $0.split(separator: " ").first }
    #expect(all?.status == 0 && processes?.contains(Substring(target.name)) == false)
  }

  /// NODE and NODES against what the kernel writes of the same mappings elsewhere.
  @Test func nodesAreTheKernels() throws {
    guard Bench.isComplete else { return }
    let target = try Target("idle")
    guard let maps = NumaMaps(reading: SystemFiles(), process: target.name) else {
      return skip("numa_maps of this kernel")
    }
    struct Listing: Decodable {
      struct Row: Decodable {
        let range: String
        let node: Int?
        let nodes: [String: Int]?
        let zone: String?
      }
      let memory: [Row]
    }
    let result = try Bench.bellows("ls", "-a", "-J", "-o", "RANGE,NODE,NODES,ZONE", target.name)
    let rows = try JSONDecoder().decode(Listing.self, from: Data(result.output.utf8)).memory
    #expect(!rows.isEmpty)
    for row in rows {
      let ends = row.range.split(separator: "-").compactMap { UInt($0.dropFirst(2), radix: 16) }
      let kernel = maps.bytes { ends[0] <= $0.start && $0.start <= ends[1] }
      // The kernel's line has the page descriptors in it, which NODES leaves out.
      for (node, bytes) in row.nodes ?? [:] {
        let number = try #require(Int(node))
        let all = kernel[NodeNumber(rawValue: number)] ?? 0
        #expect((all - (2 << 20)...all).contains(bytes), "\(row) \(kernel)")
      }
      let own = NodeNumber(rawValue: try #require(row.node))
      #expect(kernel[own] == kernel.values.max() && row.zone == "normal")
    }
  }
}
