mkdir -p a/b/c; touch a/1 a/b/2 a/b/c/3; find . -type f -name '[12]' -exec ls {} + | sort; find . -depth -delete; ls -A
