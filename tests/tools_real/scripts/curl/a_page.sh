curl -sS $URL/page | md5sum
