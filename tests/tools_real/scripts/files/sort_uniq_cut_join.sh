seq 1 9999 | sort -R --random-source=/dev/zero | sort -n | uniq | cut -c1 | uniq -c | tr -s ' '
