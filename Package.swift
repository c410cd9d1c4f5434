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

// The malloc ABI: each name is bound to an internal Swift function at link time (lld), so that a call needs no
// jump and the symbol has default visibility, which programs that take the address of malloc rely on.
let abi: KeyValuePairs = [
  "malloc": "bw_malloc", "free": "bw_free", "calloc": "bw_calloc", "realloc": "bw_realloc",
  "reallocarray": "bw_reallocarray", "cfree": "bw_free",
  "posix_memalign": "bw_posix_memalign", "aligned_alloc": "bw_aligned_alloc", "memalign": "bw_memalign",
  "valloc": "bw_valloc", "pvalloc": "bw_pvalloc",
  "free_sized": "bw_free_sized", "free_aligned_sized": "bw_free_aligned_sized",
  "malloc_usable_size": "bw_malloc_usable_size", "malloc_trim": "bw_malloc_trim",
  "mallinfo": "bw_mallinfo", "mallinfo2": "bw_mallinfo2", "malloc_info": "bw_malloc_info",
  "malloc_stats": "bw_malloc_stats", "mallopt": "bw_mallopt",
  "__libc_malloc": "bw_malloc", "__libc_free": "bw_free", "__libc_calloc": "bw_calloc",
  "__libc_realloc": "bw_realloc", "__libc_memalign": "bw_memalign", "__libc_valloc": "bw_valloc",
  "__libc_pvalloc": "bw_pvalloc", "__posix_memalign": "bw_posix_memalign",
  // operator new, new[]: plain, nothrow, aligned, aligned nothrow
  "_Znwm": "bw_new", "_Znam": "bw_new",
  "_ZnwmRKSt9nothrow_t": "bw_new_nothrow", "_ZnamRKSt9nothrow_t": "bw_new_nothrow",
  "_ZnwmSt11align_val_t": "bw_new_aligned", "_ZnamSt11align_val_t": "bw_new_aligned",
  "_ZnwmSt11align_val_tRKSt9nothrow_t": "bw_new_aligned_nothrow",
  "_ZnamSt11align_val_tRKSt9nothrow_t": "bw_new_aligned_nothrow",
  // operator delete, delete[]: plain, nothrow, sized, aligned, aligned nothrow, aligned sized
  "_ZdlPv": "bw_free", "_ZdaPv": "bw_free",
  "_ZdlPvRKSt9nothrow_t": "bw_free", "_ZdaPvRKSt9nothrow_t": "bw_free",
  "_ZdlPvm": "bw_free_sized", "_ZdaPvm": "bw_free_sized",
  "_ZdlPvSt11align_val_t": "bw_free", "_ZdaPvSt11align_val_t": "bw_free",
  "_ZdlPvSt11align_val_tRKSt9nothrow_t": "bw_free", "_ZdaPvSt11align_val_tRKSt9nothrow_t": "bw_free",
  "bellows_version": "bw_version", "bellows_trim": "bw_trim", "bellows_statistics": "bw_statistics",
  "bellows_limit": "bw_limit",
  "bellows_offline": "bw_offline", "bellows_offline_section": "bw_offline_section",
  "bellows_online": "bw_online", "bellows_online_section": "bw_online_section",
  "bellows_is_caged": "bw_is_caged", "bellows_should_move": "bw_should_move",
  "bellows_listen": "bw_listen", "bellows_unlisten": "bw_unlisten",
  "bellows_drain_node": "bw_drain_node", "bellows_bring_home": "bw_bring_home",
  "bellows_balloon_create": "bw_balloon_create", "bellows_balloon_destroy": "bw_balloon_destroy",
  "bellows_balloon_add_section": "bw_balloon_add_section", "bellows_balloon_deflate": "bw_balloon_deflate",
  "bellows_balloon_inflate": "bw_balloon_inflate", "bellows_balloon_set_target": "bw_balloon_set_target",
  "bellows_balloon_advance": "bw_balloon_advance", "bellows_balloon_figures": "bw_balloon_figures",
  "bellows_huge_page_take": "bw_huge_page_take", "bellows_huge_page_give": "bw_huge_page_give",
  "bellows_sub_block_size": "bw_sub_block_size", "bellows_sub_block_unplug": "bw_sub_block_unplug",
  "bellows_sub_block_plug": "bw_sub_block_plug", "bellows_sub_block_add_section": "bw_sub_block_add_section",
  "bellows_device_add": "bw_device_add", "bellows_device_units": "bw_device_units",
  "bellows_device_acquire": "bw_device_acquire", "bellows_device_retain": "bw_device_retain",
  "bellows_device_release": "bw_device_release", "bellows_device_remove": "bw_device_remove",
  "bellows_arena_reserve": "bw_arena_reserve", "bellows_arena_release": "bw_arena_release",
  "bellows_arena_range": "bw_arena_range", "bellows_arena_add": "bw_arena_add",
  "bellows_arena_reserve_memmaps": "bw_arena_reserve_memmaps", "bellows_arena_register": "bw_arena_register",
  "bellows_arena_unregister": "bw_arena_unregister", "bellows_arena_online": "bw_arena_online",
  "bellows_arena_offline": "bw_arena_offline", "bellows_arena_remove": "bw_arena_remove",
  "bellows_arena_set_hook": "bw_arena_set_hook", "bellows_arena_allocate": "bw_arena_allocate",
  "bellows_arena_free": "bw_arena_free", "bellows_arena_supply": "bw_arena_supply",
  "bellows_arena_section": "bw_arena_section", "bellows_arena_observe": "bw_arena_observe",
  "bellows_arena_unobserve": "bw_arena_unobserve",
  "bellows_arena_online_spare": "bw_arena_online_spare", "bellows_arena_add_group": "bw_arena_add_group",
  "bellows_arena_remove_group": "bw_arena_remove_group",
  "bellows_arena_remove_sections": "bw_arena_remove_sections",
  "bellows_arena_online_in": "bw_arena_online_in",
  "bellows_arena_allocate_movable": "bw_arena_allocate_movable",
  "_ZdlPvmSt11align_val_t": "bw_delete_aligned_sized", "_ZdaPvmSt11align_val_t": "bw_delete_aligned_sized",
]

// What every program runs comes first in the .so and begins at a multiple of 64 KiB, so that the rest is not resident
// (Scripts/order-code). The names of functions that are gone do no harm.
let link = [
  "-use-ld=lld", "-Xlinker", "--version-script=\(Context.packageDirectory)/CShims/exports.map",
  "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "-z", "-Xlinker", "nodelete",
  "-Xlinker", "-z", "-Xlinker", "separate-loadable-segments", "-Xlinker", "-z", "-Xlinker",
  "max-page-size=65536",
  "-Xlinker", "--symbol-ordering-file=\(Context.packageDirectory)/CShims/order.txt",
  "-Xlinker", "--no-warn-symbol-ordering", "-Xlinker", "-T",
  "-Xlinker", "\(Context.packageDirectory)/CShims/layout.ld",
]

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
    .target(name: "CShims", path: "CShims", exclude: ["malloc", "exports.map", "layout.ld", "order.txt"]),
    .target(name: "CMalloc", dependencies: ["CShims"], path: "CShims/malloc"),
    .target(name: "BellowsCore", dependencies: ["CShims"], swiftSettings: strict),
    .target(name: "BellowsCoreEmbedded", dependencies: ["CShims"], swiftSettings: embedded),
    .target(
      name: "BellowsMalloc",
      dependencies: ["BellowsCoreEmbedded", "CShims", "CMalloc"],
      swiftSettings: embedded,
      linkerSettings: [.unsafeFlags(link + abi.flatMap { ["-Xlinker", "--defsym=\($0)=\($1)"] })]),
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
