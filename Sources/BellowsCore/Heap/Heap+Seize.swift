// Taking an idle thread's heap without its help.
//
// A thread that sleeps keeps its current shards and what it has queued. To reach them the helper takes the
// heap's lock (slow paths hold it), points the thread's hot word to the empty heap (its malloc then misses, its
// free sees a stranger), and asks the kernel whether the thread is blocked in a system call. If it is, it is in
// no hit path, and every later one finds the empty heap: the shards can be trimmed. The thread puts its heap
// back in its next slow path, for which it needs the lock.
//
// What "blocked" leaves open is a signal handler that interrupted a hit path and itself blocks. So the thread's
// stack must not hold an address within the hit paths, which make no calls and so leave none but an interrupted
// one; and the stack pointer must be on the stack that the thread was on when it got its heap. A thread that waits
// for the heap's lock itself is in a slow path that has work to do, and is left alone.

import CShims

extension Ref where Pointee == Heap {
  /// Trims the heaps of threads that did nothing since the last call but one. `isParked` answers whether the
  /// thread of a heap is blocked outside the hit paths. Answers whether any heap is left to look at later.
  package func trimIdleThreads(_ isParked: (ThreadHeapRef) -> Bool) -> Bool {
    var more = false
    var next = bellows_load_acquire(address &+ Heap.heapsOffset)
    while next != 0 {
      let heap = ThreadHeapRef(next)
      next = heap.it.nextHeap
      guard heap.lock.tryAcquire() else {
        more = true
        continue
      }
      if heap.it.words != 0, heap.it.activity != heap.it.trimmedActivity {
        more = true
        if heap.it.activity == heap.it.seenActivity { seize(heap, isParked) }
        heap.it.seenActivity = heap.it.activity
      }
      heap.lock.release()
    }
    return more
  }

  /// Under the heap's lock.
  private func seize(_ heap: ThreadHeapRef, _ isParked: (ThreadHeapRef) -> Bool) {
    bellows_store(heap.it.words, bellows_empty_heap())
    if isParked(heap) {
      _ = trimShards(heap)
      if heap.it.epoch != epoch { acknowledge(heap) }
      it.seizures = it.seizures &+ 1
      heap.it.refusals = 0
      heap.it.trimmedActivity = heap.it.activity
    } else {
      // Where it has a cage to acknowledge, its next call is to be a slow path.
      if heap.it.epoch == epoch { bellows_store(heap.it.words, heap.address) }
      // A thread that runs without a slow path, or that cannot be judged, is asked a few times only.
      it.refusals = it.refusals &+ 1
      heap.it.refusals &+= 1
      if heap.it.refusals >= 8 {
        heap.it.refusals = 0
        heap.it.trimmedActivity = heap.it.activity
      }
    }
  }
}
