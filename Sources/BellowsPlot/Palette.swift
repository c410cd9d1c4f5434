// The colours of all drawings, for light and dark paper. A colour never says anything alone: lines are named at their
// ends, bars and cells carry figures.

/// The colours by role, as the classes of a style sheet.
enum Palette {
  /// The number of colours for series; more series begin anew.
  static let seriesCount = 8
  /// The number of steps from nothing to full of a heat map.
  static let heatSteps = 8

  private struct Role {
    let name: String
    let light: String
    let dark: String
  }

  private static let roles: [Role] = [
    Role(name: "paper", light: "#ffffff", dark: "#0d1117"),
    Role(name: "text", light: "#1f2328", dark: "#e6edf3"),
    Role(name: "soft", light: "#57606a", dark: "#9da7b1"),
    Role(name: "grid", light: "#e4e8ec", dark: "#232a33"),
    Role(name: "axis", light: "#8c959f", dark: "#6e7681"),
    Role(name: "band", light: "#f3f5f7", dark: "#151b23"),
    Role(name: "bad", light: "#cf222e", dark: "#ff7b72"),
    // Series: of like strength, told apart by those who see red and green alike too.
    Role(name: "s0", light: "#d1480b", dark: "#ff9254"),
    Role(name: "s1", light: "#0969da", dark: "#58a6ff"),
    Role(name: "s2", light: "#0f7b62", dark: "#3fc9a4"),
    Role(name: "s3", light: "#8250df", dark: "#bc8cff"),
    Role(name: "s4", light: "#9a6700", dark: "#e0b83c"),
    Role(name: "s5", light: "#bf3989", dark: "#f778ba"),
    Role(name: "s6", light: "#3b5a78", dark: "#9fb8d0"),
    Role(name: "s7", light: "#5b6b1f", dark: "#b5c667"),
    // From little to much: on light paper towards dark, on dark paper towards light.
    Role(name: "h1", light: "#fdeadf", dark: "#2a1a12"),
    Role(name: "h2", light: "#fbd3bb", dark: "#472413"),
    Role(name: "h3", light: "#f8b893", dark: "#683014"),
    Role(name: "h4", light: "#f2986a", dark: "#8b3d14"),
    Role(name: "h5", light: "#e67642", dark: "#b04e16"),
    Role(name: "h6", light: "#d1480b", dark: "#d96723"),
    Role(name: "h7", light: "#a83705", dark: "#ff9254"),
    Role(name: "h8", light: "#7a2602", dark: "#ffc69f"),
  ]

  private static func variables(_ value: (Role) -> String) -> String {
    roles.map { "--\($0.name):\(value($0))" }.joined(separator: ";")
  }

  /// The variables, for light paper and, where the reader prefers it, for dark; `selector` is what they are set on.
  static func variables(on selector: String) -> String {
    """
    \(selector){color-scheme:light dark;\(variables(\.light))}
    @media(prefers-color-scheme:dark){\(selector){\(variables(\.dark))}}
    """
  }

  /// What the classes refer to: lines over what is hatched.
  static let definitions =
    "<defs><pattern id=\"hatch\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\"><path d=\"M-1 8L8 -1\" class=\"stroke\"/></pattern></defs>"

  /// The classes of a drawing.
  static var classes: String {
    let series = (0..<seriesCount).map { ".s\($0){stroke:var(--s\($0))}.f\($0){fill:var(--s\($0))}" }
    let heat = (1...heatSteps).map { ".h\($0){fill:var(--h\($0))}" }
    return """
      .paper{fill:var(--paper)}.text{fill:var(--text)}.soft{fill:var(--soft)}.band{fill:var(--band)}.bad{fill:var(--bad)}
      .inverse{fill:var(--paper)}.grid{stroke:var(--grid)}.axis{stroke:var(--axis)}.rule{stroke:var(--axis);stroke-dasharray:2 3}
      text{font:12px system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif}
      .head{font-size:17px;font-weight:600}.name{font-size:14px;font-weight:600}.strong{font-weight:600}.small{font-size:11px}
      .end{text-anchor:end}.mid{text-anchor:middle}
      .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}.dashed{stroke-dasharray:6 4}.dotted{stroke-dasharray:1 4}
      .thin{stroke-width:1.25}.limit{stroke:var(--bad);stroke-dasharray:5 3;stroke-width:1.5;fill:none}
      .under{fill:var(--soft);fill-opacity:.13}.neutral{stroke:var(--soft);stroke-width:1.25}.fn{fill:var(--soft)}.fb{fill:var(--bad)}
      .hatch{fill:url(#hatch)}.stroke{stroke:var(--text);stroke-width:1.4;stroke-opacity:.7}
      \(series.joined())
      \(heat.joined())
      """
  }
}
