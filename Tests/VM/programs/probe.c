// Ends in a chosen way, or writes bytes of a chosen kind: the self-test of Scripts/numa-vm.
#include "support.h"

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "";
  if (!strcmp(what, "exit")) return atoi(arguments[2]);
  volatile uintptr_t nowhere = 8;
  if (!strcmp(what, "segv")) *(volatile int *)nowhere = 1;
  if (!strcmp(what, "trap")) __builtin_trap();
  if (!strcmp(what, "bytes")) {
    // Every byte value, in lines and out of them; standard error between them tests the order of the two.
    uint64_t state = 42;
    for (int i = 0; i < 200; i++) {
      unsigned char bytes[1024];
      for (size_t at = 0; at < sizeof bytes; at++) bytes[at] = i == 0 ? (unsigned char)at : (unsigned char)next_random(&state);
      if (write(STDOUT_FILENO, bytes, sizeof bytes) != sizeof bytes) return 1;
      if (i % 50 == 7 && write(STDERR_FILENO, "\r\n\x04stderr\x11\x13\xff\n", 13) != 13) return 1;
    }
    return 0;
  }
  die("unknown request '%s'", what);
}
