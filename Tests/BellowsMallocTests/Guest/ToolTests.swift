import Testing

extension Guest {
  /// What programmers look at programs with: it takes malloc and free by their symbols.
  @Suite struct ToolTests {
    private static let program = "\(Library.programs)/tools"
    private static let preload = ["LD_PRELOAD": Library.path]

    /// The lines of valgrind's report that say what it found, without numbers of processes and addresses.
    private func findings(_ child: Child) -> [String] {
      child.errorLines.compactMap { line in
        let text = line.split(separator: "== ", maxSplits: 1).last ?? line
        let isFinding = ["Invalid ", " are definitely lost", "ERROR SUMMARY"].contains { text.contains($0) }
        return isFinding ? String(text) : nil
      }
    }

    @Test("valgrind finds the errors that it finds under libc's malloc", .needsTool("valgrind"))
    func memcheck() {
      let command = ["valgrind", "--leak-check=full", Self.program, "errors"]
      let plain = findings(Child.run(command))
      let child = Child.run(command, environment: Self.preload)
      #expect(plain.count == 4 && plain.last?.contains("3 errors from 3 contexts") == true, "\(plain)")
      #expect(findings(child) == plain, "\(child)")
      #expect(!child.errors.contains("debuginfo reader") && !child.errors.contains("unhandled"), "\(child)")
    }

    @Test("no false race", .needsTool("valgrind"), arguments: ["helgrind", "drd"])
    func races(tool: String) {
      let child = Child.run(
        ["valgrind", "--tool=\(tool)", "--error-exitcode=9", Self.program, "threads"],
        environment: Self.preload)
      #expect(child.ending == .exited(0) && child.output == "ok\n", "\(child)")
      #expect(child.errors.contains("ERROR SUMMARY: 0 errors"), "\(child)")
    }

    /// gdb calls malloc for the strings of its commands, and takes the types of what is called from debugging information.
    @Test(
      "gdb calls and shows malloc and free", .needsTool("gdb"),
      arguments: [
        (#"call (int)strlen("abcd")"#, "$1 = 4"),
        ("print malloc(20) != 0", "$1 = 1"),
        ("ptype malloc(20)", "type = void *"),
        ("print *(int*)calloc(1,4)", "$1 = 0"),
        ("print *(char*)memset(malloc(20), 65, 20)", "$1 = 65 'A'"),
        ("print *(char*)realloc(strcpy((char*)malloc(20), \"B\"), 9000)", "$1 = 66 'B'"),
        ("call (char*)strcpy(malloc(20), \"copied\")", "\"copied\""),
        ("call (void)free(held)", ""),
        ("call free(held)", ""),
        ("print ((char*(*)(long))malloc)(20) != 0", "$1 = 1"),
        ("print malloc_usable_size(held)", "$1 = 48"),
        ("print (long)malloc_usable_size(malloc(300))", "$1 = 320"),
        ("print (long)memalign(4096, 10) % 4096", "$1 = 0"),
        ("print mallopt(1, 64)", "$1 = 1"),
        ("ptype malloc", "type = void *(size_t)"),
        ("ptype free", "type = void (void *)"),
        ("ptype posix_memalign", "type = int (void **, size_t, size_t)"),
        ("info symbol malloc", "malloc in section .text of \(Library.path)"),
      ])
    func debugger(expression: String, answer: String) {
      let child = Child.run([
        "gdb", "-q", "-batch", "-nx", "-ex", "set startup-with-shell off",
        "-ex", "set debuginfod enabled off", "-ex", "set environment LD_PRELOAD \(Library.path)", "-ex",
        "break stopped", "-ex", "run",
        "-ex", #"echo @@\n"#, "-ex", expression, "-ex", #"echo @@\n"#, "--args", Self.program, "debugged",
      ])
      let parts = child.output.components(separatedBy: "@@\n")
      #expect(parts.count == 3, "\(child)")
      #expect(!child.errors.contains("rror") && !child.errors.contains("nvalid"), "\(child)")
      if parts.count == 3 {
        #expect(answer.isEmpty ? parts[1].isEmpty : parts[1].hasSuffix("\(answer)\n"), "\(child)")
      }
    }

    /// By a software clock: there is no hardware counter in many virtual machines.
    @Test("perf says malloc and free", .needsTool("perf"))
    func profiler() {
      let record = Child.run(
        [
          "sh", "-c",
          """
          set -e; file=$(mktemp); trap 'rm -f "$file"' EXIT
          LD_PRELOAD=\(Library.path) perf record -q -e cpu-clock:u -o "$file" \(Self.program) profiled
          perf report -i "$file" --stdio -q --sort dso,symbol 2>/dev/null
          """,
        ], environment: ["HOME": "/nonexistent"])
      if record.errors.contains("perf_event_paranoid"), !Library.isRequired { return }
      let names = record.output.split(separator: "\n").filter { $0.contains("libbellows-malloc.so") }
        .compactMap { $0.split(separator: "]").last.map { $0.drop { $0 == " " } } }
        .compactMap { $0.split(separator: " ").first.map { String($0) } }
      #expect(record.ending == .exited(0), "\(record)")
      #expect(Set(names.prefix(2)) == ["malloc", "free"], "\(record)")
    }
  }
}

extension String {
  /// The parts between `separator`, which is not empty.
  fileprivate func components(separatedBy separator: String) -> [String] {
    var parts = [""]
    var rest = self[...]
    while let first = rest.first {
      if rest.hasPrefix(separator) {
        parts.append("")
        rest = rest.dropFirst(separator.count)
      } else {
        parts[parts.count - 1].append(first)
        rest = rest.dropFirst()
      }
    }
    return parts
  }
}
