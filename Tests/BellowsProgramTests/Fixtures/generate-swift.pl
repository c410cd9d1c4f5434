# Prints a Swift program of medium size: generic structs, enums with payloads, protocols and closures, so that the
# optimiser has something to specialise.
use strict;
use warnings;

my $count = shift // 24;
print "protocol Shape { associatedtype Unit; var units: [Unit] { get }; func measure() -> Int }\n";
for my $i (0 .. $count - 1) {
  my $n = $i * 7919 % 13 + 2;
  print <<"SWIFT";
enum Event$i: Hashable { case start(Int), word(String), pair(Int, [String]), none }
struct Shape$i<Element: Hashable>: Shape {
  var units: [Element]
  var table: [Element: Int] = [:]
  init(_ units: [Element]) {
    self.units = units
    for (place, unit) in units.enumerated() { table[unit, default: 0] += place % $n }
  }
  func measure() -> Int { units.map { table[\$0] ?? 0 }.filter { \$0 % $n != 1 }.reduce($i, &+) }
}
func use$i() -> Int {
  let events = (0..<40).map { k -> Event$i in
    switch k % 4 {
    case 0: .start(k)
    case 1: .word("word \\(k)")
    case 2: .pair(k, ["a\\(k)", "b"])
    default: .none
    }
  }
  let total = events.reduce(0) { sum, event in
    switch event {
    case .start(let value): sum + value * $n
    case .word(let text): sum + text.utf8.count
    case .pair(let value, let list): sum + value + list.joined().count
    case .none: sum + $i
    }
  }
  return total + Shape$i(events).measure() + Shape$i(["x", "y", "x"]).measure() + Shape$i([1, 2, 3, 2]).measure()
}
SWIFT
}
print "var all: [Int] = []\n";
print "all.append(use$_())\n" for 0 .. $count - 1;
print "print(all.enumerated().map { \$0 * \$1 % 1009 })\n";
