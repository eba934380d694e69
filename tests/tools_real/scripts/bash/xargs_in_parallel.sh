seq 1 40 | xargs -P 4 -n 1 sh -c 'echo $0 >out.$0'; cat out.* | sort -n | md5sum
