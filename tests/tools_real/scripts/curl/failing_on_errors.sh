curl -sS -f $URL/absent
echo $?
