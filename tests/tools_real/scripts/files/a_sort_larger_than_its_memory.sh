seq 200000 -1 1 | sort -n -S 1M -T . | md5sum
ls
