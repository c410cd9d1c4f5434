/// The totals below a listing.
struct ListingSummary {
  let snapshot: HeapSnapshot

  /// Name for people, key for programs, value.
  var fields: [(String, String, Cell)] {
    let resident = snapshot.sections.compactMap(\.residentBytes)
    let caged = snapshot.partlyOfflineBytes
    let part: [(String, String, Cell)] = caged > 0 ? [("Total caged:", "caged", .bytes(caged))] : []
    return [
      ("Section size:", "section_size", .bytes(snapshot.sectionBytes)),
      ("Total online:", "online", .bytes(snapshot.bytes("online"))),
      ("Total offline:", "offline", .bytes(snapshot.bytes("offline"))),
    ] + part + [
      ("Total used:", "used", .bytes(snapshot.sum { $0.usedBytes })),
      ("Total resident:", "resident", resident.isEmpty ? .none : .bytes(resident.reduce(0, +))),
      ("Total memmap:", "memmap", .bytes(snapshot.sum { $0.memmapBytes })),
      ("Huge blocks:", "huge", .bytes(snapshot.hugeBytes)),
    ]
  }

  /// Aligned lines.
  func lines(inBytes: Bool) -> [String] {
    let rows = fields.filter { $0.2 != .none }.map { ($0.0, $0.2.text(inBytes: inBytes)) }
    let width = rows.map(\.1.count).max() ?? 0
    return rows.map { name, value in
      name + String(repeating: " ", count: 16 - name.count + width - value.count) + value
    }
  }

  var object: JSONObject { JSONObject(fields.map { ($0.1, $0.2) }) }
}
