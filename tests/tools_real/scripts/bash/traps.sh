trap 'echo caught; exit 3' USR1; trap 'echo bye' EXIT; kill -USR1 $$; echo not reached
