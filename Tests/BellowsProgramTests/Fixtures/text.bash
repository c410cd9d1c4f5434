#!/usr/bin/env bash
# Programs that are quick to run and unlike each other: perl, jq, xz and zstd with two threads, sort, tar.
set -euo pipefail
scale=${SCALE:-1}

perl -e '
  my %h;
  for my $i (1 .. 300000) { $h{$i * 7919 % 50021} .= chr(97 + $i % 26) x ($i % 13) }
  my @keys = sort { $h{$a} cmp $h{$b} || $a <=> $b } keys %h;
  my $text = join "\n", map { "$_=$h{$_}" } @keys;
  my $count = () = $text =~ /(a+|b+)(?=\n)/g;
  $text =~ s/(\d+)=([a-m]*)/$2 . reverse $1/ge;
  print "perl $count ", length $text, "\n";
  open my $out, ">", "text" or die; print $out $text x 4;
'
sha256sum text
jq -n -c '[range(60000) | {id: ., name: "n\(. * 31 % 997)", list: [range(. % 7)]}]
  | group_by(.name) | map({key: .[0].name, value: (map(.list | length) | add)}) | from_entries' | sha256sum
for ((i = 0; i < scale; i++)); do
  xz -T2 --block-size=1MiB -3 -c text >text.xz
  zstd -T2 -q -12 -c text >text.zst
  xz -T2 -dc text.xz | cmp - text
  zstd -dcq text.zst | cmp - text
done
sha256sum text.xz text.zst
sort -S 64M --parallel=2 text | uniq -c | sort -rn | sha256sum
tar --sort=name --owner=0 --group=0 --mtime=@0 -cf - text | sha256sum
