for i in $(seq 10 60); do eval "exec $i>file-$i"; echo $i >&$i; done; cat file-* | md5sum
