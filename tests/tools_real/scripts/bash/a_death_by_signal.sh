bash -c 'kill -TERM $$'; echo $?; bash -c 'kill -KILL $$' 2>/dev/null; echo $?
