x=$(seq 1 30000); wc -l <<<"$x"; md5sum <<<"$x"
