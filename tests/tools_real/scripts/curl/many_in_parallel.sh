curl -sS --no-progress-meter -Z --parallel-max 8 -o 'got-#1' "$URL/page?[1-40]"
cat got-* | md5sum
