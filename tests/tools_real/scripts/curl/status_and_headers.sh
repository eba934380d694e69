curl -sS -o /dev/null -w '%{http_code} %{size_download} %{content_type}\n' $URL/page $URL/absent
