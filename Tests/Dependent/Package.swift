// swift-tools-version: 6.2
import PackageDescription

// A package as others write them: it depends on Bellows by version. Scripts/check-dependent says where from.

let package = Package(
  name: "dependent",
  dependencies: [
    .package(url: Context.environment["DEPENDENCY_REPOSITORY"] ?? "file:///bellows", exact: "0.1.0")
  ],
  targets: [
    .executableTarget(
      name: "Dependent", dependencies: [.product(name: "Bellows", package: "bellows")],
      swiftSettings: [.swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error)])
  ]
)
