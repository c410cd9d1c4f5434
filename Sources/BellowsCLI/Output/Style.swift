// Colour for people, decided in one place. Colour never says anything alone: a word or sign stands beside it.

import ArgumentParser
import Glibc

/// When to write in colour.
enum ColorChoice: String, CaseIterable, ExpressibleByArgument {
  /// On a terminal, unless the environment speaks against it.
  case auto
  /// Always.
  case always
  /// Never.
  case never
}

/// How text is marked up on its way to the terminal.
struct Style {
  /// The kinds of emphasis.
  enum Emphasis: String {
    case heading = "1"
    case good = "32"
    case quiet = "36"
    case caution = "33"
    case bad = "1;31"
  }

  /// Whether anything is marked up.
  let isColored: Bool

  /// Makes a style with or without colour.
  init(isColored: Bool) { self.isColored = isColored }

  /// Decides by the option, then NO_COLOR, then FORCE_COLOR and CLICOLOR_FORCE, then by the terminal.
  init(_ choice: ColorChoice, environment: [String: String], isTerminal: Bool) {
    func isSet(_ name: String) -> Bool { !(environment[name] ?? "").isEmpty }
    func isForced(_ name: String) -> Bool { isSet(name) && environment[name] != "0" }
    isColored =
      switch choice {
      case .always: true
      case .never: false
      case .auto:
        !isSet("NO_COLOR")
          && (isForced("FORCE_COLOR") || isForced("CLICOLOR_FORCE")
            || isTerminal && environment["TERM"] != "dumb" && isSet("TERM"))
      }
  }

  /// Returns the text with emphasis.
  ///
  /// Lay out first: the marks would count as width.
  func mark(_ text: String, _ emphasis: Emphasis) -> String {
    isColored ? "\u{1b}[\(emphasis.rawValue)m\(text)\u{1b}[0m" : text
  }
}
