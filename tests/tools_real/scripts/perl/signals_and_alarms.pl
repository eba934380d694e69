$SIG{ALRM} = sub { die "late\n" }; eval { alarm 1; sleep 10 }; print $@; print kill(0, $$)
