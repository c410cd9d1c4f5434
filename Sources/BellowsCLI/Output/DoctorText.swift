// The findings of `doctor` for people: a line each, verdict first, values aligned, advice indented below.

import Bellows

/// The text that `bellows doctor` prints.
struct DoctorText {
  let report: SystemReport
  let diagnosis: Diagnosis
  let style: Style

  /// The width that advice is wrapped to.
  private static let width = 80

  /// The whole text without a line end.
  var text: String {
    let verdictWidth = Finding.Verdict.allCases.map(\.rawValue.count).max() ?? 0
    let titleWidth = diagnosis.findings.map(\.title.count).max() ?? 0
    let indent = String(repeating: " ", count: 2 + verdictWidth + 2)
    var lines: [String] = []
    for group in Finding.Group.allCases {
      lines.append(style.mark(group.rawValue, .heading))
      for finding in diagnosis.findings where finding.group == group {
        let verdict = style.mark(
          Self.padded(finding.verdict.rawValue, verdictWidth), finding.verdict.emphasis)
        lines.append("  \(verdict)  \(Self.padded(finding.title, titleWidth))  \(finding.value)")
        let advice = finding.advice.map { Self.wrapped($0, width: Self.width - indent.count) } ?? []
        lines += advice.map { indent + $0 }
      }
      lines.append("")
    }
    return (lines + [summary]).joined(separator: "\n")
  }

  private var summary: String {
    let parts = [(Finding.Verdict.error, "error"), (.warning, "warning"), (.note, "note")]
      .filter { diagnosis.count($0.0) > 0 }
      .map { Diagnosis.counted(diagnosis.count($0.0), $0.1) }
    let verdict =
      diagnosis.works
      ? style.mark("Bellows \(BellowsVersion.current) works here", .good)
      : style.mark("Bellows \(BellowsVersion.current) cannot work here", .bad)
    return verdict + (parts.isEmpty ? "." : ": \(parts.joined(separator: ", ")).")
  }

  private static func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }

  /// Returns the text in lines of at most this width; lines that begin with blanks keep them.
  static func wrapped(_ text: String, width: Int) -> [String] {
    text.split(separator: "\n").flatMap { paragraph -> [String] in
      let start = String(paragraph.prefix { $0 == " " })
      var lines: [String] = []
      var line = start
      for word in paragraph.split(separator: " ") {
        if line.count > start.count, line.count + 1 + word.count > width {
          lines.append(line)
          line = start
        }
        line += line.count > start.count ? " \(word)" : String(word)
      }
      return lines + [line]
    }
  }
}

extension Finding.Verdict {
  fileprivate var emphasis: Style.Emphasis {
    switch self {
    case .ok: .good
    case .note: .quiet
    case .warning: .caution
    case .error: .bad
    }
  }
}
