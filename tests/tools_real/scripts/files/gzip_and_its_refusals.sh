seq 1 50000 > a; gzip -nk a; gzip -l a.gz | tail -1 | tr -s ' '; gzip -dc a.gz | cmp - a; echo garbage > b.gz; gzip -d b.gz; echo $?
