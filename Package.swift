// swift-tools-version: 6.2
import PackageDescription

// One core, two builds. `BellowsCore` is the hosted build that the Swift API and the unit tests use;
// `BellowsCoreEmbedded` is the same folder (a symbolic link) compiled as Embedded Swift without a run-time,
// for the .so that replaces malloc. Unsafe flags stand on the Embedded targets only, so that other packages
// can depend on the `Bellows` product by version.

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error)]

let embedded: [SwiftSetting] =
  strict + [
    .enableExperimentalFeature("Embedded"),
    .unsafeFlags([
      "-wmo", "-no-allocations", "-Xcc", "-momit-leaf-frame-pointer",
      "-Xfrontend", "-disable-stack-protector", "-Xfrontend", "-function-sections",
    ]),
  ]

let package = Package(
  name: "bellows",
  products: [
    .library(name: "Bellows", targets: ["Bellows"]),
    .executable(name: "bellows", targets: ["BellowsCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .target(name: "CShims", path: "CShims"),
    .target(name: "BellowsCore", dependencies: ["CShims"], swiftSettings: strict),
    .target(name: "BellowsCoreEmbedded", dependencies: ["CShims"], swiftSettings: embedded),
    .target(
      name: "Bellows",
      dependencies: ["BellowsCore", "CShims", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: strict),
    .executableTarget(
      name: "BellowsCLI",
      dependencies: ["Bellows", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: strict),
    .testTarget(name: "BellowsCoreTests", dependencies: ["BellowsCore", "CShims"], swiftSettings: strict),
    .testTarget(name: "BellowsCLITests", dependencies: ["BellowsCLI"], swiftSettings: strict),
    .testTarget(name: "BellowsMallocTests", swiftSettings: strict),
    .testTarget(name: "BellowsProgramTests", exclude: ["Fixtures"], swiftSettings: strict),
  ]
)
