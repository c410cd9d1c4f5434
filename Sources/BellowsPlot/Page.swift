// One HTML file that needs nothing else: the charts inline, the figures as tables, the command and the data. No script
// runs in it, and it loads nothing; it follows the reader's choice of light or dark.

/// A page with a figure and its tables.
package struct Page: Sendable {
  /// The charts.
  package var figure: Figure
  /// The tables, shown below the title.
  package var tables: [Sheet]
  /// Sentences that stand below the tables: how it was measured.
  package var remarks: [String]

  /// Makes a page.
  package init(figure: Figure, tables: [Sheet] = [], remarks: [String] = []) {
    self.figure = figure
    self.tables = tables
    self.remarks = remarks
  }

  /// The whole file.
  package var html: String {
    let notes = figure.notes.map { "<p class=\"note\">\(Canvas.escaped($0))</p>" }.joined(separator: "\n")
    let charts = figure.panels.map { "<figure>\(figure.inline($0))</figure>" }.joined(separator: "\n")
    let command =
      figure.command.isEmpty
      ? "" : "<pre class=\"command\"><code>\(Canvas.escaped(figure.command))</code></pre>"
    let remarks = remarks.map { "<p>\(Canvas.escaped($0))</p>" }.joined(separator: "\n")
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <title>\(Canvas.escaped(figure.title))</title>
      <style>
      \(Palette.variables(on: ":root"))
      \(Palette.classes)
      \(Self.style)
      </style>
      </head>
      <body>
      <main>
      <h1>\(Canvas.escaped(figure.title))</h1>
      \(notes)
      \(command)
      \(tables.map(\.html).joined(separator: "\n"))
      \(charts)
      <section class="remarks">
      \(remarks)
      </section>
      </main>
      \(embedded)
      </body>
      </html>

      """
  }

  /// The data, for programs: found by its id. `<` is written as JSON's own escape, so that no text ends the element.
  private var embedded: String {
    guard !figure.data.isEmpty else { return "" }
    let data = figure.data.split(separator: "<", omittingEmptySubsequences: false).joined(
      separator: "\\u003c")
    return "<script type=\"application/json\" id=\"data\">\(data)</script>"
  }

  private static let style = """
    *{box-sizing:border-box}
    body{margin:0;background:var(--paper);color:var(--text);font:15px/1.5 system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif}
    main{max-width:1060px;margin:0 auto;padding:32px 24px 64px}
    h1{font-size:26px;line-height:1.25;margin:0 0 8px}
    .note{margin:0;color:var(--soft)}
    .command{background:var(--band);border:1px solid var(--grid);border-radius:6px;padding:10px 14px;overflow-x:auto;font-size:13px;margin:18px 0}
    code{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}
    .scroll{overflow-x:auto;margin:18px 0}
    table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;min-width:60%}
    caption{text-align:left;font-weight:600;padding:0 0 6px}
    th,td{padding:5px 0 5px 20px;border-bottom:1px solid var(--grid);text-align:left;white-space:nowrap}
    thead th{color:var(--soft);font-weight:500}
    tbody th{font-weight:600}
    th:first-child{padding-left:0}
    .figure{text-align:right}
    .wrong{color:var(--bad);font-weight:600}
    figure{margin:26px 0;padding:0}
    figure svg{display:block;width:100%;height:auto}
    .remarks{color:var(--soft);font-size:14px;max-width:70ch}
    """
}
