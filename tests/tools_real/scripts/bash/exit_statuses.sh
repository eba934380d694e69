false; echo $?; (exit 42); echo $?; no-such-command 2>/dev/null; echo $?; true && exit 7
