// For the thread sanitizer only. The Swift compiler reports each in-place change of `ref.it` as a write to
// the first byte of the whole record, whichever field it changes, so that a lock word or a shared word there
// seems to race. Linking with --wrap=__tsan_external_write leaves those reports out; real reads and writes
// are still seen, each at its own address.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
void __wrap___tsan_external_write(void *address, void *caller, void *tag);
void __wrap___tsan_external_write(void *address, void *caller, void *tag) {
  (void)address;
  (void)caller;
  (void)tag;
}
#endif
#endif
