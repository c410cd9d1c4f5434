// The 20 forms of operator new and delete, called by name so that no compiler may merge or drop them.
#include <malloc.h>
#include <sys/resource.h>

#include <new>

#include "check.h"

namespace {
using std::align_val_t;
const size_t sizes[] = {0, 1, 8, 24, 100, 1000, 1024, 5000, 32768, 40000, 3 * MIB, 70 * MIB};
const size_t alignments[] = {8, 16, 32, 64, 256, 4096, 64 * KIB, 2 * MIB};
volatile size_t impossible[] = {PTRDIFF_MAX / 2, PTRDIFF_MAX, SIZE_MAX, SIZE_MAX - 100};

void *filled(void *block, size_t size, size_t alignment) {
  block = laundered(block);
  CHECK(block != nullptr && malloc_usable_size(block) >= size, "size %zu", size);
  CHECK(reinterpret_cast<uintptr_t>(block) % alignment == 0);
  pattern_write(block, size, size);
  pattern_check(block, size, size);
  return block;
}

// Every new with every delete that may follow it.
void pairs(int, char **) {
  for (size_t n : sizes) {
    operator delete(filled(operator new(n), n, 16));
    operator delete(filled(operator new(n), n, 16), n);
    operator delete(filled(operator new(n), n, 16), std::nothrow);
    operator delete[](filled(operator new[](n), n, 16));
    operator delete[](filled(operator new[](n), n, 16), n);
    operator delete[](filled(operator new[](n), n, 16), std::nothrow);
    operator delete(filled(operator new(n, std::nothrow), n, 16));
    operator delete(filled(operator new(n, std::nothrow), n, 16), n);
    operator delete[](filled(operator new[](n, std::nothrow), n, 16));
    operator delete[](filled(operator new[](n, std::nothrow), n, 16), n);
    for (size_t alignment : alignments) {
      align_val_t a{alignment};
      operator delete(filled(operator new(n, a), n, alignment), a);
      operator delete(filled(operator new(n, a), n, alignment), n, a);
      operator delete(filled(operator new(n, a), n, alignment), a, std::nothrow);
      operator delete[](filled(operator new[](n, a), n, alignment), a);
      operator delete[](filled(operator new[](n, a), n, alignment), n, a);
      operator delete[](filled(operator new[](n, a), n, alignment), a, std::nothrow);
      operator delete(filled(operator new(n, a, std::nothrow), n, alignment), a);
      operator delete[](filled(operator new[](n, a, std::nothrow), n, alignment), a);
    }
  }
  void *volatile null = nullptr;  // read anew each time
  operator delete(null), operator delete(null, size_t{8}), operator delete(null, std::nothrow);
  operator delete[](null), operator delete[](null, size_t{8}), operator delete[](null, std::nothrow);
  operator delete(null, align_val_t{64}), operator delete(null, size_t{8}, align_val_t{64});
  operator delete(null, align_val_t{64}, std::nothrow), operator delete[](null, align_val_t{64});
  operator delete[](null, size_t{8}, align_val_t{64}), operator delete[](null, align_val_t{64}, std::nothrow);
}

template <class Body> bool throwsBadAlloc(Body body) {
  try {
    laundered(body());
  } catch (const std::bad_alloc &) {
    return true;
  }
  return false;
}

void failure(int, char **) {
  for (volatile size_t &size : impossible) {
    size_t n = size;
    CHECK(throwsBadAlloc([n] { return operator new(n); }));
    CHECK(throwsBadAlloc([n] { return operator new[](n); }));
    CHECK(throwsBadAlloc([n] { return operator new(n, align_val_t{64}); }));
    CHECK(throwsBadAlloc([n] { return operator new[](n, align_val_t{4096}); }));
    CHECK(laundered(operator new(n, std::nothrow)) == nullptr);
    CHECK(laundered(operator new[](n, std::nothrow)) == nullptr);
    CHECK(laundered(operator new(n, align_val_t{64}, std::nothrow)) == nullptr);
    CHECK(laundered(operator new[](n, align_val_t{64}, std::nothrow)) == nullptr);
  }
  operator delete(filled(operator new(100), 100, 16));
}

int calls;
void *hoard;
struct Private : std::bad_alloc {};

void countThenGiveUp() {
  if (++calls == 3) std::set_new_handler(nullptr);
}
void releaseHoard() {
  calls++;
  free(hoard);
  hoard = nullptr;
  std::set_new_handler(nullptr);
}
void throwPrivate() { throw Private(); }

void handler(int, char **) {
  size_t n = impossible[0];
  // Called again and again until it changes something.
  for (int form = 0; form < 4; form++) {
    calls = 0;
    std::set_new_handler(countThenGiveUp);
    bool failed = form == 0   ? throwsBadAlloc([n] { return operator new(n); })
                  : form == 1 ? throwsBadAlloc([n] { return operator new[](n, align_val_t{64}); })
                  : form == 2 ? laundered(operator new(n, std::nothrow)) == nullptr
                              : laundered(operator new(n, align_val_t{64}, std::nothrow)) == nullptr;
    CHECK(failed && calls == 3, "form %d: the handler ran %d times", form, calls);
  }
  // What it throws passes through operator new; the nothrow forms catch it.
  std::set_new_handler(throwPrivate);
  bool caught = false;
  try {
    laundered(operator new(n));
  } catch (const Private &) {
    caught = true;
  }
  CHECK(caught && laundered(operator new(n, std::nothrow)) == nullptr);
  std::set_new_handler(nullptr);
}

// A handler that frees memory lets the same operator new succeed.
void relief(int, char **) {
  hoard = malloc(300 * MIB);
  CHECK(hoard != nullptr);
  struct rlimit limit = {static_cast<rlim_t>(virtual_kib() * 1024) + 100 * MIB, RLIM_INFINITY};
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK(throwsBadAlloc([] { return operator new(250 * MIB); }));
  std::set_new_handler(releaseHoard);
  void *block = laundered(operator new(250 * MIB));
  CHECK(block != nullptr && calls == 1 && hoard == nullptr);
  operator delete(filled(block, 250 * MIB, 16));
}
}  // namespace

int main(int argc, char **argv) {
  const struct command commands[] = {
      {"pairs", pairs}, {"failure", failure}, {"handler", handler}, {"relief", relief}};
  return run_command(commands, COUNT(commands), argc, argv);
}
