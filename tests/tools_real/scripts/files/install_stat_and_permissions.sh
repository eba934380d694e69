echo x > a; install -m 751 a b; stat -c '%a %s %h' b; chmod u-r b; stat -c %A b; mkfifo p; ls
