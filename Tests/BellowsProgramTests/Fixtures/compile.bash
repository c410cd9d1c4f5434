#!/usr/bin/env bash
# gcc and g++ compile large generated files; the sums of the object files are what is compared.
set -euo pipefail
scale=${SCALE:-1}

perl -e '
  my $n = shift;
  print "#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n";
  for my $i (0 .. $n - 1) {
    my ($a, $b) = ($i * 7919 % 251 + 1, $i * 104729 % 97 + 2);
    print "struct s$i { uint64_t a[$b]; struct s$i *next; char name[$a]; };\n";
    print "static uint64_t f$i(struct s$i *s, int n) {\n  uint64_t x = $a;\n";
    print "  for (int i = 0; i < n; i++) { x = x * 31 + s->a[i % $b]; if (x & $a) s->name[i % $a] = (char)x; }\n";
    print "  switch (x % 5) { case 0: return x + $a; case 1: return x ^ $b; case 2: memset(s->a, (int)x, sizeof s->a);",
      " break; default: for (struct s$i *p = s; p; p = p->next) x += strlen(p->name); }\n  return x;\n}\n";
  }
  print "uint64_t all(void *p, int n) {\n  uint64_t x = 0;\n";
  print "  x += f$_((struct s$_ *)p, n);\n" for 0 .. $n - 1;
  print "  return x;\n}\n";
' $((350 * scale)) >large.c

perl -e '
  my $n = shift;
  print "#include <algorithm>\n#include <functional>\n#include <map>\n#include <memory>\n#include <numeric>\n",
    "#include <regex>\n#include <string>\n#include <tuple>\n#include <unordered_map>\n#include <variant>\n#include <vector>\n";
  for my $i (0 .. $n - 1) {
    print "struct T$i { int a; std::string b; auto operator<=>(const T$i &) const = default; };\n";
    print "int use$i(const std::vector<T$i> &v) {\n  std::map<std::string, T$i> m; std::variant<int, T$i, std::vector<T$i>> w = v;\n",
      "  for (auto &t : v) m.emplace(t.b + \"$i\", t);\n  auto c = v; std::stable_sort(c.begin(), c.end());\n",
      "  return std::accumulate(c.begin(), c.end(), (int)w.index() + (int)m.size(), [](int x, auto &t) { return x + t.a; });\n}\n";
  }
  print "bool match(const std::string &s) { return std::regex_search(s, std::regex(\"a(b|c)*d\")); }\n";
' $((10 * scale)) >large.cpp

wc -l large.c large.cpp
gcc -O2 -g -ffile-prefix-map="$PWD"=. -c large.c -o c.o
g++ -std=c++20 -O2 -c large.cpp -o cpp.o
gcc -E -dM large.c | sort | sha256sum
sha256sum c.o cpp.o
ar rcs large.a c.o cpp.o
nm large.a | sort | sha256sum
g++ -shared -o large.so -x c++ - <<<'extern "C" int one() { return 1; }'
