exec 5>five; echo to five >&5; exec 5>&-; cat five; { echo out; echo err >&2; } >both 2>&1; cat both
