// The parser of bounds: one character of look-ahead, a function for each rule of the grammar.

extension Bound {
  /// Parses a bound.
  init(parsing text: String) throws(Mistake) {
    var parser = Parser(text)
    self.text = text
    left = try parser.expression()
    comparison = try parser.comparison()
    right = try parser.expression()
    parser.skipBlanks()
    if parser.take("@") {
      (from, to) = try parser.window()
    } else {
      (from, to) = (.start, .end)
    }
    try parser.end()
  }

  private struct Parser {
    let characters: [Character]
    var place = 0
    /// How deeply brackets may be nested.
    var depth = 0

    init(_ text: String) { characters = Array(text) }

    var next: Character? { place < characters.count ? characters[place] : nil }

    mutating func skipBlanks() { while next == " " || next == "\t" { place += 1 } }

    mutating func take(_ text: String) -> Bool {
      let wanted = Array(text)
      guard place + wanted.count <= characters.count,
        Array(characters[place..<place + wanted.count]) == wanted
      else { return false }
      place += wanted.count
      return true
    }

    func mistake(_ message: String, at offset: Int? = nil) -> Mistake {
      Mistake(message: message, offset: offset ?? place)
    }

    /// What stands at this place, for a message.
    var found: String { next.map { "found '\($0)'" } ?? "the text ends" }

    mutating func end() throws(Mistake) {
      skipBlanks()
      if next != nil { throw mistake("expected the end or '@', \(found)") }
    }

    mutating func comparison() throws(Mistake) -> Comparison {
      skipBlanks()
      for sign in ["<=", ">=", "<", ">"] where take(sign) {
        if let comparison = Comparison(rawValue: sign) { return comparison }
      }
      throw mistake("expected '<', '<=', '>' or '>=', \(found)")
    }

    mutating func expression() throws(Mistake) -> Expression {
      depth += 1
      defer { depth -= 1 }
      if depth > 50 { throw mistake("too many brackets") }
      var sum = try term()
      while true {
        skipBlanks()
        if take("+") {
          sum = .sum(sum, try term())
        } else if take("-") {
          sum = .difference(sum, try term())
        } else {
          return sum
        }
      }
    }

    mutating func term() throws(Mistake) -> Expression {
      var product = try factor()
      while true {
        skipBlanks()
        if take("*") {
          product = .product(product, try factor())
        } else if take("/") {
          product = .quotient(product, try factor())
        } else {
          return product
        }
      }
    }

    mutating func factor() throws(Mistake) -> Expression {
      skipBlanks()
      if take("-") {
        depth += 1
        defer { depth -= 1 }
        if depth > 50 { throw mistake("too many signs") }
        return .negated(try factor())
      }
      if take("(") { return try bracketed() }
      guard let first = next else { throw mistake("expected a figure or a number, the text ends") }
      if first.isASCII, first.isNumber || first == "." { return .number(try quantity()) }
      let start = place
      let word = word()
      if word.isEmpty { throw mistake("expected a figure or a number, \(found)") }
      if let variable = Variable(rawValue: word) { return .variable(variable) }
      if let function = Function(rawValue: word) {
        skipBlanks()
        guard take("(") else { throw mistake("expected '(' after \(word), \(found)") }
        return .function(function, try bracketed())
      }
      let names = Variable.allCases.map(\.rawValue) + Function.allCases.map { "\($0.rawValue)(...)" }
      throw mistake("there is no figure '\(word)'. There are: \(names.joined(separator: " "))", at: start)
    }

    mutating func bracketed() throws(Mistake) -> Expression {
      let inner = try expression()
      skipBlanks()
      guard take(")") else { throw mistake("expected ')', \(found)") }
      return inner
    }

    mutating func word() -> String {
      let start = place
      while let character = next, character.isASCII, character.isLetter || character.isNumber { place += 1 }
      return String(characters[start..<place])
    }

    mutating func number() throws(Mistake) -> Double {
      skipBlanks()
      let start = place
      while let character = next, character.isASCII, character.isNumber || character == "." { place += 1 }
      guard let number = Double(String(characters[start..<place])) else {
        throw mistake(
          "expected a number, \(place == start ? found : "'\(String(characters[start..<place]))' is none")",
          at: start)
      }
      return number
    }

    /// A number with a unit, in bytes or seconds.
    mutating func quantity() throws(Mistake) -> Double {
      let number = try number()
      let start = place
      let unit = word()
      let factors: [String: Double] = [
        "": 1, "K": 1024, "KiB": 1024, "M": 1_048_576, "MiB": 1_048_576, "G": 1_073_741_824,
        "GiB": 1_073_741_824,
        "s": 1, "ms": 1e-3, "us": 1e-6, "ns": 1e-9,
      ]
      guard let factor = factors[unit] else {
        throw mistake("there is no unit '\(unit)'. There are KiB, MiB, GiB, s, ms, us, ns", at: start)
      }
      return number * factor
    }

    mutating func seconds() throws(Mistake) -> Double {
      let start = place
      let number = try number()
      let unit = word()
      guard unit == "s" || unit == "ms" else {
        throw mistake("expected a time such as 2s or 500ms", at: start)
      }
      return unit == "s" ? number : number / 1000
    }

    mutating func window() throws(Mistake) -> (Moment, Moment) {
      let from = try moment()
      skipBlanks()
      guard take("..") else { return (from, .end) }
      return (from, try moment())
    }

    mutating func moment() throws(Mistake) -> Moment {
      skipBlanks()
      if take("+") { return .afterTurn(try seconds()) }
      if let first = next, first.isASCII, first.isNumber {
        let start = place
        let number = try number()
        if take("%") {
          guard number <= 100 else { throw mistake("there is no more than 100 %", at: start) }
          return .part(number / 100)
        }
        place = start
        return .seconds(try seconds())
      }
      // Labels of events may have blanks: up to '+' or '..' or the end.
      let start = place
      while let character = next, character != "+" {
        if character == ".", place + 1 < characters.count, characters[place + 1] == "." { break }
        place += 1
      }
      var label = String(characters[start..<place])
      while label.last == " " { label.removeLast() }
      if label.isEmpty {
        throw mistake("expected start, end, a time, a percentage, '+' or an event, \(found)", at: start)
      }
      if label == "start" || label == "end" { return label == "start" ? .start : .end }
      return .event(label, take("+") ? try seconds() : 0)
    }
  }
}
