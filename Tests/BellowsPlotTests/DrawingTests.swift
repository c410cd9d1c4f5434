import Foundation
import FoundationXML
import Testing

@testable import BellowsPlot

/// Whether a text is well-formed XML, and what its elements hold.
final class XMLReader: NSObject, XMLParserDelegate {
  var texts: [String: String] = [:]
  var count = 0
  private var path: [String] = []

  static func read(_ text: String) throws -> XMLReader {
    let reader = XMLReader()
    let parser = XMLParser(data: Data(text.utf8))
    parser.delegate = reader
    if !parser.parse() { throw parser.parserError ?? CocoaError(.propertyListReadCorrupt) }
    return reader
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
    attributes: [String: String]
  ) {
    path.append(name)
    count += 1
  }

  func parser(_ parser: XMLParser, didEndElement name: String, namespaceURI: String?, qualifiedName: String?)
  {
    path.removeLast()
  }

  func parser(_ parser: XMLParser, foundCharacters text: String) {
    texts[path.last ?? "", default: ""] += text
  }
}

@Suite struct DrawingTests {
  @Test func drawingIsWellFormedAndHoldsCommandAndData() throws {
    let reader = try XMLReader.read(Samples.figure.svg)
    #expect(reader.texts["command"] == Samples.figure.command)
    #expect(reader.texts["data"] == Samples.figure.data)
    #expect(reader.texts["text"]?.contains(Samples.nasty) == true)
  }

  @Test func pageHoldsItsDataAndLoadsNothing() throws {
    let html = Samples.page.html
    let start = try #require(html.range(of: "id=\"data\">"))
    let end = try #require(html.range(of: "</script>", range: start.upperBound..<html.endIndex))
    let data = Data(html[start.upperBound..<end.lowerBound].utf8)
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["text"] as? String == Samples.nasty)
    // One script element, which is the data.
    #expect(html.components(separatedBy: "</script>").count == 2)
    for loader in ["src=", "href=", "url(h", "@import"] { #expect(!html.contains(loader)) }
  }

  @Test func emptyChartsAreDrawn() throws {
    let empty = Figure(
      title: "nothing",
      panels: [
        .lines(LineChart(title: "a", x: Axis(.seconds), y: Axis(.bytes), series: [])),
        .lines(
          LineChart(
            title: "b", x: Axis(.seconds), y: Axis(.nanoseconds, scale: .logarithmic),
            series: [Series("x", points: []), Series("y", points: [(0, .nan), (.nan, 1)])])),
        .heat(
          HeatMap(
            title: "c", x: Axis(.seconds), columns: [], end: 0, groups: [], cells: [], legend: ("", "", ""))),
        .matrix(Matrix(title: "d", rows: [], columns: [], values: [], unit: .count)),
        .dots(DotChart(title: "e", axis: Axis(.ratio), series: [], rows: [])),
      ])
    #expect(try XMLReader.read(empty.svg).count > 10)
    #expect(!empty.svg.contains("nan") && !empty.svg.contains("inf\""))
  }

  @Test func thinningKeepsPeaks() {
    var points = (0..<10_000).map { (x: Double($0) / 20, y: 100.0) }
    points[3333].y = 1
    points[7777].y = 999
    let thinned = LineChart.thinned(points)
    #expect(thinned.count < 2500)
    #expect(thinned.contains { $0.y == 1 } && thinned.contains { $0.y == 999 })
    #expect(thinned.first?.x == 0 && thinned.last?.x == points.last?.x)
    #expect(zip(thinned, thinned.dropFirst()).allSatisfy { $0.x <= $1.x })
  }

  @Test func terminalSketchShowsPeaksAndNames() {
    let text = TerminalChart(Samples.lines, columns: 80).text()
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.allSatisfy { $0.count <= 90 })
    for word in ["bellows", "glibc", "jemalloc", "live", "256 MiB", "free at 4 s"] {
      #expect(text.contains(word))
    }
    #expect(text.unicodeScalars.contains { (0x2801...0x28ff).contains($0.value) })
  }

  @Test func tableIsAligned() {
    let table = Sheet(
      columns: ["allocator", "peak"],
      rows: [
        [.init("bellows", isFigure: false), .init("1 MiB")],
        [.init("x", isFigure: false), .init("100 MiB", isBad: true)],
      ])
    #expect(table.text { "[\($0)]" } == "allocator     peak\nbellows      1 MiB\nx          [100 MiB]")
  }
}
