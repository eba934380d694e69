export A=1 B='two words'; env -i A=x bash -c 'echo $A $B'; printenv A B; env -u A printenv A; echo $?
