/// One thing that `doctor` found.
struct Finding: Encodable, Equatable {
  /// What a finding means to the user.
  enum Verdict: String, Encodable, CaseIterable {
    /// As it should be.
    case ok
    /// Bellows does something differently here.
    case note
    /// Likely to hurt.
    case warning
    /// Bellows cannot work.
    case error
  }

  /// The groups, in the order in which they are shown.
  enum Group: String, Encodable, CaseIterable {
    case library = "Library"
    case system = "System"
    case memory = "Memory"
    case limits = "Limits"
    case features = "Kernel features"
  }

  /// The group that it stands in.
  let group: Group
  /// A name for scripts that stays as it is.
  let id: String
  /// The name for people.
  let title: String
  /// What was found, in words.
  let value: String
  /// What it means.
  let verdict: Verdict
  /// What it means for Bellows and what to do; nil where there is nothing to say.
  let advice: String?
}
