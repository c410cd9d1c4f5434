// Bad input is one line on standard error (function, pointer, reason, what is known of its page), then abort.

import CShims

/// Says what is wrong with `block`, and aborts. With no lock held: a handler of SIGABRT may fork, or allocate.
@inline(never)
package func fail(_ function: StaticString, _ block: UInt, _ reason: StaticString) -> Never {
  var line = start(function, block, reason)
  line.write()
  bellows_abort()
}

private func start(_ function: StaticString, _ block: UInt, _ reason: StaticString) -> Line {
  var line = Line()
  line.append("bellows: ")
  line.append(function)
  line.append("(")
  line.append(hex: block)
  line.append("): ")
  line.append(reason)
  return line
}

extension Ref where Pointee == Heap {
  /// The same where the thread may hold locks of this heap.
  @inline(never)
  package func fault(_ function: StaticString, _ block: UInt, _ reason: StaticString) -> Never {
    openOwnLocks()
    fail(function, block, reason)
  }

  /// Says why `block` cannot be a block of this heap, and aborts.
  @inline(never)
  package func refuse(_ block: UInt, _ function: StaticString) -> Never {
    guard let section = it.arena.section(at: block), it.table.covers(block) else {
      fault(function, block, "not allocated by Bellows: no section is at this address")
    }
    let pageblockShift = it.arena.it.geometry.pageblockShift
    let offset = block &- section.it.base
    let index = offset &>> pageblockShift
    let page = (offset & ((1 &<< pageblockShift) &- 1)) &>> Page.shift
    var line: Line
    if index < UInt(section.it.memmapBlocks) {
      line = start(function, block, "not a block: the address lies in the memmap")
    } else if it.arena.knownRun(at: block).word.isKept {
      let atStart = block.isAligned(to: Page.granuleBytes)
      line = start(
        function, block, atStart ? "double free of a large block" : "interior pointer to a freed large block")
    } else if section.block(index).it.used.contains(page) {
      line = start(function, block, "interior pointer to a large block")
    } else {
      line = start(function, block, "double free, or never allocated: the page is free")
    }
    line.append(" (section ")
    line.append(UInt(section.it.number))
    line.append(", pageblock ")
    line.append(index)
    line.append(", page ")
    line.append(page)
    line.append(")")
    openOwnLocks()
    line.write()
    bellows_abort()
  }
}
