curl -sS -Z --parallel-max 8 $URL/page?[1-40] | md5sum
