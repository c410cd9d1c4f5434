import Chromium
import Foundation
import Testing

@testable import BellowsPlot

/// The page in a real browser, in light and in dark: what lies where, and what can be read.
///
/// BELLOWS_GALLERY=folder keeps the page, the drawing and pictures of both.
@Suite(.serialized) struct BrowserTests {
  @Test(arguments: [false, true]) func pageCanBeRead(dark: Bool) throws {
    guard let browser = Browser.find() else { return skip("chromium") }
    let page = Samples.page.html
    let findings = try browser.findings(in: page, dark: dark)
    #expect(findings.texts > 60 && findings.shapes > 60)
    #expect(findings.paper == (dark ? "rgb(13, 17, 23)" : "rgb(255, 255, 255)"))
    #expect(findings.overlaps.isEmpty, "texts that overlap: \(findings.overlaps)")
    #expect(findings.outside.isEmpty, "texts that are cut off: \(findings.outside)")
    #expect(findings.faint.isEmpty, "texts that are hard to read: \(findings.faint)")
    #expect(!findings.wide, "the page has to be scrolled sideways")
    try browser.keep(page, "page", dark: dark)
    try browser.keep(Samples.figure.svg, "figure", dark: dark)
  }

  // The test of the test: what it looks for is found where it is.
  @Test func findingsFindWhatIsWrong() throws {
    guard let browser = Browser.find() else { return skip("chromium") }
    let page = """
      <!DOCTYPE html><body style="background:#fff"><svg viewBox="0 0 300 60" width="300">
      <text x="10" y="20" style="fill:#eee">faint words</text><text x="12" y="21">over others</text>
      <text x="280" y="50">cut off here</text></svg></body>
      """
    let findings = try browser.findings(in: page, dark: false)
    #expect(findings.overlaps.count == 1 && findings.outside.count == 1 && findings.faint.count == 1)
  }
}
