curl -sS http://localhost:$PORT/page | wc -l
