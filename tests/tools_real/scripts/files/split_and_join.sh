head -c 300000 /dev/zero | tr '\0' x > a; split -b 70000 a part.; cat part.* | cmp - a; ls
