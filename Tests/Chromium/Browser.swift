import Foundation

/// Chromium without a window.
package struct Browser {
  package let path: String

  /// What the browser finds out about a page.
  package struct Findings: Decodable {
    package let overlaps: [String]
    package let outside: [String]
    package let faint: [String]
    package let texts: Int
    package let shapes: Int
    package let paper: String
    package let wide: Bool
  }

  /// What is wrong with a browser's answer.
  package struct Failure: Error {
    package let message: String
  }

  package static func find() -> Browser? {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
      .first { FileManager.default.isExecutableFile(atPath: $0) }.map { Browser(path: $0) }
  }

  /// Renders a page and lets it look at itself.
  package func findings(in page: String, dark: Bool) throws -> Findings {
    let probed = page.replacingOccurrences(of: "</body>", with: "<script>\(Self.probe)</script></body>")
    let folder = try Self.folder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("page.html")
    try Data(probed.utf8).write(to: file)
    let dom = try run(["--dump-dom", file.path], dark: dark, folder: folder)
    guard let start = dom.range(of: "<pre id=\"findings\">"),
      let end = dom.range(of: "</pre>", range: start.upperBound..<dom.endIndex)
    else { throw Failure(message: "no findings in \(dom.count) characters: \(dom.prefix(300))") }
    let text = dom[start.upperBound..<end.lowerBound].replacingOccurrences(of: "&lt;", with: "<")
      .replacingOccurrences(of: "&gt;", with: ">").replacingOccurrences(of: "&amp;", with: "&")
    return try JSONDecoder().decode(Findings.self, from: Data(text.utf8))
  }

  /// Keeps a page or drawing and its picture where a person wants to look at them.
  package func keep(_ text: String, _ name: String, dark: Bool) throws {
    guard let gallery = ProcessInfo.processInfo.environment["BELLOWS_GALLERY"] else { return }
    let folder = URL(fileURLWithPath: gallery)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let file = folder.appendingPathComponent("\(name).\(text.hasPrefix("<svg") ? "svg" : "html")")
    try Data(text.utf8).write(to: file)
    let picture = folder.appendingPathComponent("\(name)-\(dark ? "dark" : "light").png")
    _ = try run(["--screenshot=\(picture.path)", file.path], dark: dark, folder: folder)
  }

  private static func folder() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("bellows-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }

  private func run(_ arguments: [String], dark: Bool, folder: URL) throws -> String {
    let profile = try Self.folder()
    defer { try? FileManager.default.removeItem(at: profile) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments =
      [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,2600",
        "--disable-dev-shm-usage", "--user-data-dir=\(profile.path)",
        "--blink-settings=preferredColorScheme=\(dark ? 0 : 1)", "--no-first-run", "--disable-extensions",
      ] + arguments
    let output = folder.appendingPathComponent("output-\(UUID().uuidString)")
    _ = FileManager.default.createFile(atPath: output.path, contents: nil)
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    let text = try String(contentsOf: output, encoding: .utf8)
    try? FileManager.default.removeItem(at: output)
    if process.terminationStatus != 0 {
      throw Failure(message: "chromium ended with \(process.terminationStatus)")
    }
    return text
  }

  /// Asks the browser itself: boxes of all texts against each other and their drawing, and the contrast of each
  /// against what lies below it.
  private static let probe = #"""
    const rgb = text => (text.match(/[\d.]+/g) || [255, 255, 255]).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
    const paper = getComputedStyle(document.body).backgroundColor;
    const found = { overlaps: [], outside: [], faint: [], texts: 0, shapes: 0, paper };
    for (const svg of document.querySelectorAll('svg')) {
      const frame = svg.getBoundingClientRect();
      const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim() !== '')
        .map(t => ({ t, b: t.getBoundingClientRect() }));
      found.texts += texts.length;
      found.shapes += svg.querySelectorAll('path,rect,circle').length;
      texts.forEach(({ t, b }, i) => {
        const name = t.textContent;
        if (b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1)
          found.outside.push(name);
        for (const o of texts.slice(i + 1)) {
          const wide = Math.min(b.right, o.b.right) - Math.max(b.left, o.b.left);
          const tall = Math.min(b.bottom, o.b.bottom) - Math.max(b.top, o.b.top);
          if (wide > 1 && tall > 3) found.overlaps.push(name + ' / ' + o.t.textContent);
        }
        const below = [...svg.querySelectorAll('rect')].filter(r => {
          const box = r.getBoundingClientRect(), x = (b.left + b.right) / 2, y = (b.top + b.bottom) / 2;
          return box.left <= x && box.right >= x && box.top <= y && box.bottom >= y;
        }).pop();
        const back = rgb(below ? getComputedStyle(below).fill : paper);
        const ratio = contrast(rgb(getComputedStyle(t).fill), back);
        if (ratio < 4.4) found.faint.push(name + ' ' + ratio.toFixed(2));
      });
    }
    for (const t of document.querySelectorAll('td,th,p,h1,caption')) {
      if (t.textContent.trim() !== '' && contrast(rgb(getComputedStyle(t).color), rgb(paper)) < 4.4) found.faint.push(t.textContent);
    }
    found.wide = document.documentElement.scrollWidth > window.innerWidth;
    const pre = document.createElement('pre');
    pre.id = 'findings';
    pre.textContent = JSON.stringify(found);
    document.body.append(pre);
    """#
}
