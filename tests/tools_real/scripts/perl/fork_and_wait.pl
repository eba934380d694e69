for (1..5) { if (!fork) { exit $_ } } my $s = 0; while (wait > 0) { $s += $? >> 8 } print $s
