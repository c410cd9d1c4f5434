// What the functions of the malloc ABI take and return, for debuggers: gdb calls malloc for the strings of its commands and
// casts what comes back. Swift's own debugging information says structures, and where there is none at all gdb finds glibc's
// malloc. DWARF 4, written by hand: a compilation unit of declarations that have an address, of one byte each, so that all
// behind a function's entry is still Swift's, with its lines.

        .section .debug_abbrev,"",%progbits
.Labbreviations:
        .macro  abbreviation number, tag, children, attributes:vararg
        .uleb128 \number, \tag
        .byte   \children
        .uleb128 \attributes, 0, 0
        .endm
        // Attributes: language 0x13, name 3, byte size 0xb, encoding 0x3e, type 0x49, external 0x3f, prototyped 0x27,
        // low pc 0x11, high pc 0x12. Forms: string 8, data1 0xb, ref4 0x13, address 1, flag present 0x19.
        abbreviation 1, 0x11, 1, 0x13, 0xb, 3, 8                    // compilation unit
        abbreviation 2, 0x24, 0, 3, 8, 0xb, 0xb, 0x3e, 0xb          // base type
        abbreviation 3, 0x16, 0, 3, 8, 0x49, 0x13                   // typedef
        abbreviation 4, 0x0f, 0, 0xb, 0xb                           // pointer to void
        abbreviation 5, 0x0f, 0, 0xb, 0xb, 0x49, 0x13               // pointer
        abbreviation 6, 0x2e, 1, 3, 8, 0x11, 1, 0x12, 0xb, 0x3f, 0x19, 0x27, 0x19               // function without a result
        abbreviation 7, 0x2e, 1, 3, 8, 0x11, 1, 0x12, 0xb, 0x3f, 0x19, 0x27, 0x19, 0x49, 0x13   // function
        abbreviation 8, 0x05, 0, 0x49, 0x13                         // parameter
        .byte   0

        .section .debug_info,"",%progbits
.Lunit:
        .4byte  .Lend - .Lversion
.Lversion:
        .2byte  4
        .4byte  .Labbreviations
        .byte   8
        .uleb128 1
        .byte   0x0c                    // C99
        .asciz  "malloc"

        .macro  base label, name, bytes, encoding
\label: .uleb128 2
        .asciz  "\name"
        .byte   \bytes, \encoding
        .endm
        base    .Llong, "unsigned long", 8, 7
        base    .Lint, "int", 4, 5
.Lsize: .uleb128 3
        .asciz  "size_t"
        .4byte  .Llong - .Lunit
.Lpointer:
        .uleb128 4
        .byte   8
.Lpointer_pointer:
        .uleb128 5
        .byte   8
        .4byte  .Lpointer - .Lunit

        .macro  parameters first, rest:vararg
        .uleb128 8
        .4byte  .L\first - .Lunit
        .ifnb   \rest
        parameters \rest
        .endif
        .endm
        .macro  function result, name, taken:vararg
        .ifc    \result,void
        .uleb128 6
        .else
        .uleb128 7
        .endif
        .asciz  "\name"
        .8byte  bw_\name
        .byte   1
        .ifnc   \result,void
        .4byte  .L\result - .Lunit
        .endif
        .ifnb   \taken
        parameters \taken
        .endif
        .byte   0
        .endm
        function pointer, malloc, size
        function void, free, pointer
        function pointer, calloc, size, size
        function pointer, realloc, pointer, size
        function pointer, reallocarray, pointer, size, size
        function pointer, aligned_alloc, size, size
        function pointer, memalign, size, size
        function pointer, valloc, size
        function pointer, pvalloc, size
        function int, posix_memalign, pointer_pointer, size, size
        function size, malloc_usable_size, pointer
        function int, malloc_trim, size
        function int, mallopt, int, int
        function int, malloc_info, int, pointer
        function void, malloc_stats
        .byte   0
.Lend:
        .section .note.GNU-stack,"",%progbits
