// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "node-local",
  dependencies: [.package(name: "bellows", path: "../..")],
  targets: [
    .executableTarget(
      name: "NodeLocal", dependencies: [.product(name: "Bellows", package: "bellows")],
      swiftSettings: [.swiftLanguageMode(.v6)])
  ]
)
