// C++ objects of thread duration whose destructors allocate and free, in threads by the thousand:
// they run at thread exit before or after the allocator's own clean-up, which must not matter.
#include <pthread.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace {
struct Keeper {
  std::vector<std::string> words;
  std::unique_ptr<Keeper> inner;
  ~Keeper() {
    for (int i = 0; i < 20; i++) words.push_back("a word long enough to be on the heap: " + std::to_string(i));
    for (int i = 0; i < 20; i++)
      CHECK(words[words.size() - 20 + i].back() == '0' + i % 10);
  }
};
thread_local Keeper first;
thread_local Keeper second;

void live(int i) {
  if (i % 2) second.words.emplace_back(100, 'x');
  first.words.emplace_back(5000, 'y');
  first.inner = std::make_unique<Keeper>();
  first.inner->words.emplace_back(70000, 'z');
}
Keeper ofTheProcess;  // destroyed by exit, after main's thread_local objects
}  // namespace

int main() {
  long settled = 0;
  for (int round = 0; round < 3000; round++) {
    std::thread a(live, round), b(live, round + 1);
    a.join(), b.join();
    if (round == 500) settled = resident_kib();
  }
  long grown = resident_kib() - settled;
  printf("grown by %ld KiB\n", grown);
  CHECK(grown < 2048, "grown by %ld KiB", grown);
  live(1);
  ofTheProcess.words.emplace_back(100000, 'w');
  printf("ok\n");
}
