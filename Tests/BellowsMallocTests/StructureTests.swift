import Testing

/// What the shared object is made of, as binutils see it.
@Suite("The structure of the shared object", .needsLibrary)
struct StructureTests {
  private func lines(_ command: String...) -> [[Substring]] {
    let child = Child.run(command + [Library.path])
    #expect(child.ending == .exited(0), "nm and readelf are of Debian's binutils: \(child)")
    return child.output.split(separator: "\n").map { $0.split(separator: " ") }
  }

  private func exportsAllowed() throws -> Set<String> {
    let text = Child.run(["cat", "\(Library.root)/Tests/BellowsMallocTests/exports.txt"]).output
    return Set(text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { String($0) })
  }

  /// Names without versions.
  private func dynamicNames(_ selection: String) -> Set<String> {
    Set(lines("nm", "-D", selection).compactMap { $0.last?.split(separator: "@").first.map { String($0) } })
  }

  @Test("exports are the ABI, dlopen and bellows_* and nothing else")
  func exports() throws {
    let wanted = try exportsAllowed()
    #expect(wanted.count == 52 && wanted.filter { $0.hasPrefix("_Z") }.count == 20, "exports.txt")
    let found = dynamicNames("--defined-only")
    #expect(wanted.subtracting(found).sorted() == [], "missing")
    let extra = found.subtracting(wanted).filter { !$0.hasPrefix("bellows_") }
    #expect(extra.sorted() == [], "more than the ABI")
  }

  /// A protected symbol cannot be the target of a copy relocation or of a program's own address of malloc.
  @Test func noProtectedSymbols() {
    let protected = lines("readelf", "--dyn-syms", "-W").filter { $0.contains("PROTECTED") }
    #expect(protected.isEmpty, "\(protected)")
  }

  /// Valgrind, gdb and perf pass over symbols that are not functions or have no size.
  @Test("every exported function has a type and a size, and the object has a name")
  func symbols() throws {
    let defined = lines("readelf", "--dyn-syms", "-W").filter { $0.count == 8 && Int($0[6]) != nil }
    #expect(defined.count > 52)
    let odd = defined.filter { $0[2] == "0" || $0[3] != "FUNC" && $0[7] != "bellows_process_header" }
    #expect(odd == [])
    let dynamic = Child.run(["readelf", "-dW", Library.path]).output
    #expect(dynamic.contains("Library soname: [libbellows-malloc.so]"))
  }

  /// What takes its names from symbols takes the strong one: perf, of several, the longest.
  @Test("free is called free and malloc malloc")
  func namesOfHitPaths() {
    let symbols = lines("nm", "-D", "--defined-only").filter { $0.count == 3 }
    for name in ["malloc", "free"] {
      let place = symbols.first { $0[2] == name[...] }?[0]
      let strong = symbols.filter { $0[0] == place && $0[1] == "T" && !$0[2].hasPrefix("__") }.map { $0[2] }
      #expect(strong == [name[...]])
    }
  }

  @Test("debugging information that Debian 12's valgrind can read")
  func debuggingInformation() {
    let units = lines("readelf", "--debug-dump=info").filter { $0.first == "Version:" }
    let versions = Set(units.compactMap { $0.last })
    #expect(versions == ["4"])
  }

  @Test("needs libc alone")
  func needed() {
    let needed = lines("readelf", "-dW").filter { $0.contains("(NEEDED)") }.compactMap { $0.last }
    #expect(needed == ["[libc.so.6]"])
  }

  /// What the library may have of libc. None of it is a system call's function: programs and preloads replace those, and
  /// they are cancellation points; system calls are made inline. None allocates, which would come back into us.
  @Test func undefinedSymbols() throws {
    let threads = [
      "pthread_attr_destroy", "pthread_attr_init", "pthread_attr_setdetachstate", "pthread_attr_setstacksize",
      "pthread_create", "pthread_getcpuclockid", "pthread_join", "pthread_key_create",
      "pthread_self", "pthread_setcancelstate", "pthread_setspecific", "pthread_sigmask", "sigfillset",
      "__libc_single_threaded", "__register_atfork", "_IO_list_lock", "_IO_list_unlock",
    ]
    let text = [
      "bcmp", "memchr", "memcmp", "memcpy", "memmove", "memset", "strchr", "strcmp", "strcpy", "strlen",
      "strncmp",
      "strstr", "strtol", "strtoull",
    ]
    let process = [
      "__cxa_atexit", "__errno_location", "__libc_stack_end", "abort", "dlsym", "environ", "fwrite",
      "getauxval",
    ]
    let weak = [
      "_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "_ZSt15get_new_handlerv",
      "_ZSt17__throw_bad_allocv", "__cxa_finalize", "__gmon_start__", "seccomp_load",
    ]
    let allowed = Set(threads + text + process + weak)
    #expect(dynamicNames("--undefined-only").subtracting(allowed).sorted() == [])
  }

  /// The kernel maps 64 KiB of a file around a page that is touched: the functions that every program runs lie in the
  /// first of those, and the other 150 KiB of code are not resident in small programs. `Scripts/order-code` brings
  /// order.txt up to date.
  @Test func whatEveryProgramRunsComesFirst() throws {
    let segment = try #require(lines("readelf", "-lW").first { $0.first == "LOAD" && $0.contains("E") })
    let start = try #require(Int(segment[2].dropFirst(2), radix: 16))
    #expect(start % 65536 == 0, "\(segment)")
    let text = Child.run(["cat", "\(Library.root)/CShims/order.txt"]).output
    let names = Set(text.split(separator: "\n"))
    let found = lines("nm", "--defined-only").filter { $0.count == 3 && names.contains($0[2]) }
    #expect(Set(found.map { $0[2] }).count * 10 >= names.count * 9, "many functions of order.txt are gone")
    let beyond = found.filter { Int($0[0], radix: 16).map { $0 >= start + 65536 } ?? true }
    #expect(beyond.isEmpty, "\(beyond)")
    let stubs = try #require(lines("readelf", "-SW").first { $0.contains(".plt") })
    let place = try #require(stubs.firstIndex(of: "PROGBITS"))
    #expect(Int(stubs[place + 1], radix: 16).map { $0 < start + 65536 } == true, "\(stubs)")
  }

  /// The same as the kernel sees it, of a program that takes a block of 128 KiB, too.
  @Test func aSmallProgramRunsWhatComesFirst() throws {
    let child = Child.run(["cat", "/proc/self/smaps"], environment: ["LD_PRELOAD": Library.path])
    let lines = child.output.split(separator: "\n")
    let code = try #require(
      lines.firstIndex { $0.contains(" r-xp ") && $0.hasSuffix("/libbellows-malloc.so") })
    let resident = try #require(lines[code...].first { $0.hasPrefix("Rss:") })
    let kibibytes = try #require(Int(resident.split(separator: " ")[1]))
    #expect(kibibytes > 0 && kibibytes <= 64, "Scripts/order-code has to be run: \(resident)")
  }

  /// The instructions of each hit path, from its entry to its return: malloc and free of blocks up to 2 KiB, and
  /// what free adds for longer ones. More is a regression; fewer is news for this table and the architecture
  /// article.
  @Test(
    "hit paths", .enabled(if: Child.run(["uname", "-m"]).output == "x86_64\n", "counted on x86-64"),
    arguments: [("bw_malloc", 14), ("bw_new", 14), ("bw_free", 23), ("bw_free_tail", 15)])
  func hitPath(function: String, count: Int) throws {
    // By address: the same code has several names, and objdump knows it by one of them.
    let symbol = try #require(lines("nm").first { $0.last == function[...] })
    let start = try #require(Int(symbol[0], radix: 16))
    let text = Child.run([
      "objdump", "-d", "--no-show-raw-insn", "--start-address=\(start)", "--stop-address=\(start + 160)",
      Library.path,
    ])
    let code = text.output.split(separator: "\n").compactMap { line -> Substring? in
      let parts = line.split(separator: "\t")
      return parts.count == 2 ? parts[1] : nil
    }
    let end = try #require(code.firstIndex { $0.hasPrefix("ret") }, "\(text)")
    let path = code[...end]
    #expect(path.count == count, "\(path)")
    #expect(!path.contains { $0.hasPrefix("call") || $0.hasPrefix("lock") || $0.hasPrefix("push") })
  }

  /// A thread's hot word is another's to change at any time: a free that began with the thread's heap must not go on
  /// with what the word says then.
  @Test(
    "a hit path reads the thread's words once",
    .enabled(if: Child.run(["uname", "-m"]).output == "x86_64\n", "read on x86-64"),
    arguments: [
      ("bw_malloc", 1), ("bw_new", 1), ("bw_free", 1), ("bw_free_tail", 1), ("bw_malloc_miss", 1),
      ("bw_free_tail_full", 0), ("bw_free_full", 0),
    ])
  func readsOfHotWord(function: String, count: Int) throws {
    let symbol = try #require(lines("nm", "-S").first { $0.count == 4 && $0[3] == function[...] })
    let start = try #require(Int(symbol[0], radix: 16))
    let bytes = try #require(Int(symbol[1], radix: 16))
    let text = Child.run([
      "objdump", "-d", "--no-show-raw-insn", "--start-address=\(start)", "--stop-address=\(start + bytes)",
      Library.path,
    ]).output
    #expect(text.split(separator: "\n").filter { $0.contains("%fs:") }.count == count, "\(text)")
  }

  /// Whatever is written beyond what the hit paths look at there would be wrong for all threads.
  @Test("the heap of threads that have none cannot be written")
  func emptyHeap() throws {
    let symbol = try #require(lines("nm").first { $0.last == "bellows_empty_heap_" })
    #expect(symbol[1] == "r", "\(symbol)")
  }

  /// The sizes that park.c takes the hit paths for must cover them.
  @Test(
    "hit paths are as short as the seizure takes them for",
    .enabled(if: Child.run(["uname", "-m"]).output == "x86_64\n", "measured on x86-64"))
  func hitPathSizes() {
    let most = [
      "bw_malloc": 80, "bw_malloc_miss": 576, "bw_calloc": 160, "bw_new": 80, "bw_free": 128,
      "bw_free_tail": 96, "bw_free_tail_full": 32,
      "bw_free_sized": 128, "bw_free_full": 80, "bw_aligned_hit": 448,
    ]
    var seen = 0
    for line in lines("nm", "-S") where line.count == 4 {
      guard let bound = most[String(line[3])], let size = Int(line[1], radix: 16) else { continue }
      #expect(size <= bound, "\(line[3])")
      seen += 1
    }
    #expect(seen == most.count)
  }

  @Test("nothing of a Swift run-time, no lazy globals")
  func noRuntime() {
    let all = Set(lines("nm").compactMap { $0.last.map { String($0) } })
    let dynamic = dynamicNames("--defined-only")
    #expect(!all.isEmpty, "stripped: nothing to look at")
    #expect(dynamic.filter { $0.hasPrefix("swift_") || $0.hasPrefix("$s") }.sorted() == [])
    #expect(all.filter { $0.hasPrefix("swift_once") || $0.hasPrefix("swift_allocObject") }.sorted() == [])
  }

  @Test("bound at load, no text relocations, never unloaded")
  func dynamicSection() {
    let dynamic = Child.run(["readelf", "-dW", Library.path]).output
    #expect(dynamic.contains("BIND_NOW") || dynamic.contains("Flags: NOW"))
    #expect(!dynamic.contains("TEXTREL"))
    #expect(dynamic.contains("NODELETE"), "destructors of thread data outlive dlclose")
    #expect(!dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"), "setuid programs link to it")
  }

  @Test("thread-local storage of at most 32 bytes, so that dlopen finds room")
  func threadLocalStorage() throws {
    let segments = lines("readelf", "-lW").filter { $0.first == "TLS" }
    #expect(segments.count <= 1)
    for segment in segments {
      let size = try #require(Int(segment[5].dropFirst(2), radix: 16))
      #expect(size <= 32, "\(size) bytes")
    }
  }

  @Test("no segment is writable and executable, the stack is not executable")
  func segments() {
    for segment in lines("readelf", "-lW") where segment.first == "LOAD" || segment.first == "GNU_STACK" {
      let flags = segment.dropFirst(6).dropLast().joined()
      #expect(!(flags.contains("W") && flags.contains("E")), "\(segment)")
    }
  }
}
