echo "$(echo "$(printf %s a)b")c $(wc -c < <(head -c 100000 /dev/zero))"
