/// The version of Bellows.
public enum BellowsVersion {
  /// The version in the form `major.minor.patch`.
  public static let current = "0.1.0"
}
