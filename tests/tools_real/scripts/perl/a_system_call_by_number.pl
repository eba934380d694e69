print syscall(39) == $$ ? "same" : "other"; my $n = syscall(1, fileno(STDERR), "raw", 3); print $n
