seq 1 500 | while read -r n; do ((n % 100)) || echo $n; done
