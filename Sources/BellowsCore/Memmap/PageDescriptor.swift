// The descriptor of a device's page.
//
// The first word is of the kind that `GranuleWord` describes: a free of such an address is recognised as an error.

import CShims

package struct PageDescriptor: BitwiseCopyable {
  /// `GranuleWord.device`.
  package var word: UInt
  /// The record of the region. (Linux lays this pointer over the links of lists: a device's page is on none.)
  package var owner: UInt
  /// Atomic.
  package var references: UInt
}

package typealias PageDescriptorRef = Ref<PageDescriptor>

extension Ref where Pointee == PageDescriptor {
  package var kind: GranuleWord { GranuleWord(bellows_load_acquire(address)) }
  package var references: UInt { bellows_load_acquire(address &+ PageDescriptor.referencesOffset) }

  /// Changes the number of references from one value to another; false where it is not that value.
  package func replaceReferences(_ expected: UInt, with new: UInt) -> Bool {
    bellows_compare_exchange(address &+ PageDescriptor.referencesOffset, expected, new)
  }
}

extension PageDescriptor {
  package static var referencesOffset: UInt { 16 }
}
