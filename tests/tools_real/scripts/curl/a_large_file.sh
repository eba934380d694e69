curl -sS -o got $URL/large
md5sum got
