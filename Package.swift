// swift-tools-version: 6.2
import PackageDescription

// One core, two builds. `BellowsCore` is the hosted build that the Swift API and the unit tests use;
// `BellowsCoreEmbedded` is the same folder (a symbolic link) compiled as Embedded Swift without a run-time,
// for the .so that replaces malloc, and `CShimsEmbedded` is the folder `CShims` for it. Unsafe flags stand on the
// Embedded targets only, so that other packages can depend on the `Bellows` product by version.

let strict: [SwiftSetting] = [.swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error)]

let embedded: [SwiftSetting] =
  strict + [
    .enableExperimentalFeature("Embedded"),
    .unsafeFlags([
      "-wmo", "-no-allocations", "-dwarf-version=4", "-Xcc", "-momit-leaf-frame-pointer",
      "-Xfrontend", "-disable-stack-protector", "-Xfrontend", "-function-sections",
    ]),
  ]

// What every program runs comes first in the .so and begins at a multiple of 64 KiB, so that the rest is not resident
// (Scripts/order-code). The names of functions that are gone do no harm.
let link = [
  "-use-ld=lld", "-Xlinker", "-soname", "-Xlinker", "libbellows-malloc.so",
  "-Xlinker", "--version-script=\(Context.packageDirectory)/CShims/exports.map",
  "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "-z", "-Xlinker", "nodelete",
  "-Xlinker", "-z", "-Xlinker", "initfirst",
  "-Xlinker", "-z", "-Xlinker", "separate-loadable-segments", "-Xlinker", "-z", "-Xlinker",
  "max-page-size=65536",
  "-Xlinker", "--symbol-ordering-file=\(Context.packageDirectory)/CShims/order.txt",
  "-Xlinker", "--no-warn-symbol-ordering", "-Xlinker", "-T",
  "-Xlinker", "\(Context.packageDirectory)/CShims/layout.ld",
]

let notShims = ["malloc", "exports.map", "layout.ld", "order.txt"]

// Valgrind before 3.21 cannot read what clang writes of version 5, and gives up. Each function by itself, for the order of the code.
let inLibrary = ["-gdwarf-4", "-ffunction-sections"]

let package = Package(
  name: "bellows",
  products: [
    .library(name: "bellows-malloc", type: .dynamic, targets: ["BellowsMalloc"]),
    .library(name: "Bellows", targets: ["Bellows"]),
    .library(name: "BellowsMetrics", targets: ["BellowsMetrics"]),
    .executable(name: "bellows", targets: ["BellowsCLI"]),
    .executable(name: "bellows-workload", targets: ["BellowsWorkload"]),
    .library(name: "bellows-record", type: .dynamic, targets: ["BellowsRecord"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    .target(name: "CShims", path: "CShims", exclude: notShims),
    .target(name: "CShimsEmbedded", exclude: notShims, cSettings: [.unsafeFlags(inLibrary)]),
    .target(
      name: "CMalloc", dependencies: ["CShimsEmbedded"], path: "CShims/malloc",
      cSettings: [.unsafeFlags(inLibrary)]),
    .target(name: "BellowsCore", dependencies: ["CShims"], swiftSettings: strict),
    .target(name: "BellowsCoreEmbedded", dependencies: ["CShimsEmbedded"], swiftSettings: embedded),
    .target(
      name: "BellowsMalloc",
      dependencies: ["BellowsCoreEmbedded", "CShimsEmbedded", "CMalloc"],
      swiftSettings: embedded,
      linkerSettings: [.unsafeFlags(link)]),
    .target(
      name: "Bellows",
      dependencies: ["BellowsCore", "CShims", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: strict + [.enableExperimentalFeature("Lifetimes")]),
    .target(
      name: "BellowsMetrics",
      dependencies: [
        "Bellows", .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict + [.enableUpcomingFeature("InternalImportsByDefault")]),
    .target(name: "BellowsPlot", swiftSettings: strict),
    .target(name: "CWorkload"),
    .target(name: "CTool"),
    // Optimised in every build: its own share of the time must stay small.
    .executableTarget(
      name: "BellowsWorkload", dependencies: ["CShims", "CWorkload"],
      cSettings: [.unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror"])],
      // As Embedded Swift the linker adds no Swift run-time, whose libraries would allocate.
      linkerSettings: [
        .linkedLibrary("m"), .unsafeFlags(["-enable-experimental-feature", "Embedded", "-wmo"]),
      ]),
    .target(
      name: "BellowsRecord",
      cSettings: [
        .unsafeFlags(["-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-fno-builtin-malloc"])
      ],
      linkerSettings: [.unsafeFlags(["-enable-experimental-feature", "Embedded", "-wmo"])]),
    .executableTarget(
      name: "BellowsCLI",
      dependencies: [
        "Bellows", "BellowsCore", "BellowsPlot", "CShims", "CTool", "CWorkload",
        .product(name: "Histogram", package: "hdrhistogram-swift"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "plug-daemon",
      dependencies: [
        "Bellows", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Examples/PlugDaemon", swiftSettings: strict),
    .executableTarget(
      name: "page-balloon", dependencies: ["Bellows"], path: "Examples/PageBalloon", swiftSettings: strict),
    .executableTarget(
      name: "section-inspector", dependencies: ["Bellows"], path: "Examples/SectionInspector",
      swiftSettings: strict),
    .executableTarget(
      name: "cooperating-cache", dependencies: ["Bellows"], path: "Examples/CooperatingCache",
      swiftSettings: strict),
    .target(name: "Chromium", path: "Tests/Chromium", swiftSettings: strict),
    .testTarget(name: "BellowsCoreTests", dependencies: ["BellowsCore", "CShims"], swiftSettings: strict),
    .testTarget(
      name: "BellowsTests",
      dependencies: ["Bellows", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: strict + [.enableExperimentalFeature("Lifetimes")]),
    .testTarget(
      name: "BellowsCLITests",
      dependencies: [
        "Bellows", "BellowsCLI", "Chromium",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Fixtures", "Golden"], swiftSettings: strict),
    .testTarget(
      name: "BellowsMetricsTests",
      dependencies: [
        "Bellows", "BellowsMetrics", .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "MetricsTestKit", package: "swift-metrics"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .testTarget(name: "BellowsPlotTests", dependencies: ["BellowsPlot", "Chromium"], swiftSettings: strict),
    .testTarget(name: "BellowsMallocTests", exclude: ["exports.txt", "resident.txt"], swiftSettings: strict),
    .testTarget(name: "BellowsProgramTests", exclude: ["Fixtures"], swiftSettings: strict),
  ]
)
