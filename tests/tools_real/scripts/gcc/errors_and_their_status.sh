echo 'int main(void) { return x; }' > bad.c; gcc bad.c 2>&1; echo $?; gcc absent.c 2>&1; echo $?
