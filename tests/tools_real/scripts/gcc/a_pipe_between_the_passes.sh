gcc -pipe -O1 -S -o - twice.c | md5sum
gcc -E main.c | wc -l
