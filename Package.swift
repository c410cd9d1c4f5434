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
  "_ZdlPvmSt11align_val_t": "bw_delete_aligned_sized", "_ZdaPvmSt11align_val_t": "bw_delete_aligned_sized",
]

let link = [
  "-use-ld=lld", "-Xlinker", "--version-script=\(Context.packageDirectory)/CShims/exports.map",
  "-Xlinker", "-z", "-Xlinker", "now", "-Xlinker", "-z", "-Xlinker", "nodelete",
]

let package = Package(
  name: "bellows",
  products: [
    .library(name: "bellows-malloc", type: .dynamic, targets: ["BellowsMalloc"]),
    .library(name: "Bellows", targets: ["Bellows"]),
    .executable(name: "bellows", targets: ["BellowsCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
  ],
  targets: [
    .target(name: "CShims", path: "CShims", exclude: ["malloc", "exports.map"]),
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
    .executableTarget(
      name: "BellowsCLI",
      dependencies: [
        "Bellows", "CShims", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: strict),
    .testTarget(name: "BellowsCoreTests", dependencies: ["BellowsCore", "CShims"], swiftSettings: strict),
    .testTarget(
      name: "BellowsTests", dependencies: ["Bellows"],
      swiftSettings: strict + [.enableExperimentalFeature("Lifetimes")]),
    .testTarget(
      name: "BellowsCLITests",
      dependencies: [
        "Bellows", "BellowsCLI", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      exclude: ["Fixtures", "Golden"], swiftSettings: strict),
    .testTarget(name: "BellowsMallocTests", exclude: ["exports.txt"], swiftSettings: strict),
    .testTarget(name: "BellowsProgramTests", exclude: ["Fixtures"], swiftSettings: strict),
  ]
)
