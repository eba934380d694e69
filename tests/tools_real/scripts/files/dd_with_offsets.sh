seq 1 5000 > a; dd if=a of=b bs=100 skip=3 seek=2 count=5 conv=notrunc status=none; md5sum b; stat -c %s b
