seq 1 2000 | curl -sS --data-binary @- $URL/echo | md5sum
