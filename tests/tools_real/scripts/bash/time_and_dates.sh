touch -d '2001-02-03 04:05:06.789 UTC' f; stat -c '%Y %y' f; date -u -r f +%s
