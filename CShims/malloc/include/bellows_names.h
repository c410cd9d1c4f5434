// The names that the library's functions have for the world: a second symbol at the same address, with the type and the size
// of the first, so that a call needs no jump, &malloc is one address in every object, and what looks at symbols (valgrind,
// perf, gdb) sees functions. (The linker's --defsym makes symbols without a size.)
//
// An assembler gives a second name only to what its own object defines: each Swift file calls the function for its part,
// once, in a function that nobody calls. What C defines has the attribute `alias` where it stands.
#ifndef BELLOWS_NAMES_H
#define BELLOWS_NAMES_H

#define BELLOWS_ALIAS(binding, name, function) "." binding " " name "\n.set " name ", " function "\n"
#define BELLOWS_NAME(name, function) BELLOWS_ALIAS("globl", #name, #function)
// perf takes the longest of several strong names, which for free would be "operator delete[](void*, std::align_val_t)".
#define BELLOWS_WEAK_NAME(name, function) BELLOWS_ALIAS("weak", #name, #function)
// What bellows.h declares is called the same here, with bw_ in front.
#define BELLOWS_OWN_NAME(name) BELLOWS_ALIAS("globl", "bellows_" #name, "bw_" #name)

static inline void bellows_names_malloc(void) {
  __asm__ volatile(BELLOWS_NAME(malloc, bw_malloc)
                   BELLOWS_NAME(free, bw_free)
                   BELLOWS_NAME(calloc, bw_calloc)
                   BELLOWS_NAME(realloc, bw_realloc)
                   BELLOWS_NAME(reallocarray, bw_reallocarray)
                   BELLOWS_WEAK_NAME(cfree, bw_free)
                   BELLOWS_NAME(free_sized, bw_free_sized)
                   BELLOWS_NAME(free_aligned_sized, bw_free_aligned_sized)
                   BELLOWS_NAME(__libc_malloc, bw_malloc)
                   BELLOWS_NAME(__libc_free, bw_free)
                   BELLOWS_NAME(__libc_calloc, bw_calloc)
                   BELLOWS_NAME(__libc_realloc, bw_realloc)
                   // operator delete, delete[]: plain, nothrow, sized, aligned, aligned nothrow, aligned sized
                   BELLOWS_WEAK_NAME(_ZdlPv, bw_free)
                   BELLOWS_WEAK_NAME(_ZdaPv, bw_free)
                   BELLOWS_WEAK_NAME(_ZdlPvRKSt9nothrow_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdaPvRKSt9nothrow_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdlPvm, bw_free_sized)
                   BELLOWS_WEAK_NAME(_ZdaPvm, bw_free_sized)
                   BELLOWS_WEAK_NAME(_ZdlPvSt11align_val_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdaPvSt11align_val_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdlPvSt11align_val_tRKSt9nothrow_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdaPvSt11align_val_tRKSt9nothrow_t, bw_free)
                   BELLOWS_WEAK_NAME(_ZdlPvmSt11align_val_t, bw_delete_aligned_sized)
                   BELLOWS_WEAK_NAME(_ZdaPvmSt11align_val_t, bw_delete_aligned_sized));
}

static inline void bellows_names_operators(void) {
  __asm__ volatile(BELLOWS_NAME(_Znwm, bw_new) BELLOWS_NAME(_Znam, bw_new));
}

static inline void bellows_names_aligned(void) {
  __asm__ volatile(BELLOWS_NAME(posix_memalign, bw_posix_memalign)
                   BELLOWS_NAME(aligned_alloc, bw_aligned_alloc)
                   BELLOWS_NAME(memalign, bw_memalign)
                   BELLOWS_NAME(valloc, bw_valloc)
                   BELLOWS_NAME(pvalloc, bw_pvalloc)
                   BELLOWS_NAME(__posix_memalign, bw_posix_memalign)
                   BELLOWS_NAME(__libc_memalign, bw_memalign)
                   BELLOWS_NAME(__libc_valloc, bw_valloc)
                   BELLOWS_NAME(__libc_pvalloc, bw_pvalloc));
}

static inline void bellows_names_introspection(void) {
  __asm__ volatile(BELLOWS_NAME(malloc_usable_size, bw_malloc_usable_size)
                   BELLOWS_NAME(malloc_trim, bw_malloc_trim)
                   BELLOWS_NAME(mallinfo, bw_mallinfo)
                   BELLOWS_NAME(mallinfo2, bw_mallinfo2)
                   BELLOWS_NAME(malloc_info, bw_malloc_info)
                   BELLOWS_NAME(malloc_stats, bw_malloc_stats)
                   BELLOWS_NAME(mallopt, bw_mallopt)
                   BELLOWS_OWN_NAME(version)
                   BELLOWS_OWN_NAME(trim)
                   BELLOWS_OWN_NAME(statistics));
}

static inline void bellows_names_limits(void) { __asm__ volatile(BELLOWS_OWN_NAME(limit)); }

static inline void bellows_names_offline(void) {
  __asm__ volatile(BELLOWS_OWN_NAME(offline)
                   BELLOWS_OWN_NAME(offline_section)
                   BELLOWS_OWN_NAME(online)
                   BELLOWS_OWN_NAME(online_section)
                   BELLOWS_OWN_NAME(is_caged)
                   BELLOWS_OWN_NAME(should_move)
                   BELLOWS_OWN_NAME(listen)
                   BELLOWS_OWN_NAME(unlisten));
}

static inline void bellows_names_drain(void) {
  __asm__ volatile(BELLOWS_OWN_NAME(drain_node) BELLOWS_OWN_NAME(bring_home));
}

static inline void bellows_names_balloons(void) {
  __asm__ volatile(BELLOWS_OWN_NAME(balloon_create)
                   BELLOWS_OWN_NAME(balloon_destroy)
                   BELLOWS_OWN_NAME(balloon_add_section)
                   BELLOWS_OWN_NAME(balloon_deflate)
                   BELLOWS_OWN_NAME(balloon_inflate)
                   BELLOWS_OWN_NAME(balloon_set_target)
                   BELLOWS_OWN_NAME(balloon_advance)
                   BELLOWS_OWN_NAME(balloon_figures)
                   BELLOWS_OWN_NAME(huge_page_take)
                   BELLOWS_OWN_NAME(huge_page_give)
                   BELLOWS_OWN_NAME(sub_block_size)
                   BELLOWS_OWN_NAME(sub_block_unplug)
                   BELLOWS_OWN_NAME(sub_block_plug)
                   BELLOWS_OWN_NAME(sub_block_add_section)
                   BELLOWS_OWN_NAME(device_add)
                   BELLOWS_OWN_NAME(device_units)
                   BELLOWS_OWN_NAME(device_acquire)
                   BELLOWS_OWN_NAME(device_retain)
                   BELLOWS_OWN_NAME(device_release)
                   BELLOWS_OWN_NAME(device_remove));
}

static inline void bellows_names_arenas(void) {
  __asm__ volatile(BELLOWS_OWN_NAME(arena_reserve)
                   BELLOWS_OWN_NAME(arena_release)
                   BELLOWS_OWN_NAME(arena_range)
                   BELLOWS_OWN_NAME(arena_add)
                   BELLOWS_OWN_NAME(arena_reserve_memmaps)
                   BELLOWS_OWN_NAME(arena_register)
                   BELLOWS_OWN_NAME(arena_unregister)
                   BELLOWS_OWN_NAME(arena_online)
                   BELLOWS_OWN_NAME(arena_offline)
                   BELLOWS_OWN_NAME(arena_remove)
                   BELLOWS_OWN_NAME(arena_set_hook)
                   BELLOWS_OWN_NAME(arena_allocate)
                   BELLOWS_OWN_NAME(arena_free)
                   BELLOWS_OWN_NAME(arena_supply)
                   BELLOWS_OWN_NAME(arena_section)
                   BELLOWS_OWN_NAME(arena_observe)
                   BELLOWS_OWN_NAME(arena_unobserve)
                   BELLOWS_OWN_NAME(arena_online_spare)
                   BELLOWS_OWN_NAME(arena_add_group)
                   BELLOWS_OWN_NAME(arena_remove_group)
                   BELLOWS_OWN_NAME(arena_remove_sections)
                   BELLOWS_OWN_NAME(arena_online_in)
                   BELLOWS_OWN_NAME(arena_allocate_movable));
}

#endif
