import ArgumentParser
import Bellows

@main
struct BellowsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bellows", abstract: "Memory hotplug for a process.", version: BellowsVersion.current)
}
