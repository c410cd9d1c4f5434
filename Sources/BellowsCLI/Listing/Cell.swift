// What stands in a table: values that know how to be read by people and by programs.

import FoundationEssentials

/// A value in a table.
enum Cell: Equatable {
  case text(String)
  case bytes(Int)
  case count(Int)
  case number(Double)
  case flag(Bool)
  /// Bytes by number: `0:24M,1:8M`.
  case amounts([Int: Int])
  /// Without a meaning here: left empty.
  case none
  /// Not known: a dash.
  case unknown

  /// The value for people: sizes in the largest unit that keeps three digits, or in bytes.
  func text(inBytes: Bool) -> String {
    switch self {
    case .text(let text): text
    case .bytes(let bytes): inBytes ? String(bytes) : Bytes.short(bytes)
    case .count(let count): String(count)
    case .number(let number): "\(number)"
    case .flag(let flag): flag ? "yes" : "no"
    case .amounts(let amounts):
      amounts.keys.sorted().map { "\($0):\(Cell.bytes(amounts[$0] ?? 0).text(inBytes: inBytes))" }
        .joined(separator: ",")
    case .none: ""
    case .unknown: "-"
    }
  }
}

/// Sizes are numbers of bytes, flags are booleans, what is not known is null.
extension Cell: Encodable {
  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .bytes(let number), .count(let number): try container.encode(number)
    case .number(let number): try container.encode(number)
    case .flag(let flag): try container.encode(flag)
    case .amounts(let amounts):
      try container.encode(Dictionary(uniqueKeysWithValues: amounts.map { ("\($0)", $1) }))
    case .none, .unknown: try container.encodeNil()
    }
  }
}

/// A column of a table of `Row`s, as data.
struct Column<Row>: Sendable {
  /// The heading, in capitals; in small letters the key in JSON.
  let name: String
  /// What it says, for the help.
  let help: String
  /// Whether values stand at the right.
  var isRight = true
  let cell: @Sendable (Row) -> Cell

  var key: String { name.lowercased().replacing("-", with: "_") }
}

/// The forms that a table is printed in.
enum TableForm: Equatable {
  case text, pairs, raw, json
}

/// Rows under columns.
struct Table<Row> {
  let columns: [Column<Row>]
  let rows: [Row]
  var inBytes = false
  var hasHeadings = true

  /// The table with aligned columns, two blanks between them.
  var lines: [String] {
    let cells = rows.map { row in columns.map { $0.cell(row).text(inBytes: inBytes) } }
    let all = (hasHeadings ? [columns.map(\.name)] : []) + cells
    let widths = columns.indices.map { place in all.map { $0[place].count }.max() ?? 0 }
    return all.map { line in
      let padded = columns.indices.map { place in
        let blanks = String(repeating: " ", count: widths[place] - line[place].count)
        return columns[place].isRight ? blanks + line[place] : line[place] + blanks
      }
      return trimmedAtEnd(padded.joined(separator: "  "))
    }
  }

  /// A line a row of `NAME="value"`, for shells.
  var pairLines: [String] {
    rows.map { row in
      columns.map { column in
        let value = column.cell(row).text(inBytes: inBytes)
          .replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\(column.name.replacing("-", with: "_"))=\"\(value)\""
      }.joined(separator: " ")
    }
  }

  /// Values with one blank between them; blanks inside of a value are written \x20.
  var rawLines: [String] {
    let cells = rows.map { row in columns.map { $0.cell(row).text(inBytes: inBytes) } }
    return ((hasHeadings ? [columns.map(\.name)] : []) + cells).map { line in
      line.map { $0.isEmpty ? "-" : $0.replacing(" ", with: "\\x20") }.joined(separator: " ")
    }
  }

  /// The rows as objects.
  var objects: [JSONObject] {
    rows.map { row in JSONObject(columns.map { ($0.key, $0.cell(row)) }) }
  }

  /// The lines of a form that is not JSON.
  func lines(_ form: TableForm) -> [String] {
    switch form {
    case .pairs: pairLines
    case .raw: rawLines
    case .text, .json: lines
    }
  }

  private func trimmedAtEnd(_ line: String) -> String {
    var line = line[...]
    while line.last == " " { line.removeLast() }
    return String(line)
  }
}

/// An object of JSON whose keys are data.
struct JSONObject: Encodable {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
  let fields: [(String, Cell)]

  init(_ fields: [(String, Cell)]) { self.fields = fields }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    for (name, cell) in fields { try container.encode(cell, forKey: Key(stringValue: name)) }
  }
}

/// JSON as the tool writes it: sorted keys; on one line, or indented for people.
enum JSONText {
  static func of(_ value: some Encodable, pretty: Bool) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }
}
