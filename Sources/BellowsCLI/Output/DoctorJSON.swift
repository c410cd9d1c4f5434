import Bellows
import FoundationEssentials

/// The object that `bellows doctor --json` prints.
struct DoctorJSON: Encodable {
  /// Raised when a field changes its meaning or goes away; new fields do not raise it.
  let schema = 1
  /// The version of the tool.
  let version = BellowsVersion.current
  /// Whether Bellows works on this system.
  let works: Bool
  /// The facts.
  let system: SystemReport
  /// What they mean.
  let findings: [Finding]

  /// Makes the object of facts and findings.
  init(report: SystemReport, diagnosis: Diagnosis) {
    works = diagnosis.works
    system = report
    findings = diagnosis.findings
  }
}
