# Trees are packed, unpacked, copied in several ways, compared.
set -eu
cd "$1"
mkdir -p tree/{a,b,c}/{x,y}
for i in $(seq 40); do seq "$i" $((i * 90)) >"tree/a/x/n$i"; done
truncate -s 3M tree/sparse
printf end | dd of=tree/sparse bs=1 seek=1000000 conv=notrunc status=none
head -c 700000 /usr/bin/python3.11 >tree/b/bytes
ln -s ../a/x/n3 tree/b/link
ln tree/a/x/n7 tree/c/hard
chmod 640 tree/a/x/n9
chmod 2755 tree/c
touch -d '2001-02-03 04:05:06.789 UTC' tree/a/x/n1 tree/b
tar -cf all.tar tree
mkdir out
tar -xpf all.tar -C out
diff -r --no-dereference tree out/tree
cp -a tree copy
diff -r --no-dereference tree copy
gzip -k all.tar
gunzip -c all.tar.gz | cmp - all.tar
if command -v rsync >/dev/null; then
	rsync -aH tree/ synced/
	diff -r --no-dereference tree synced
	echo more >>tree/a/x/n2
	touch -d 2002-02-02 tree/a/x/n2
	rsync -aHi --delete tree/ synced/
fi
(cd copy && find . -printf '%y %m %s %n %l %p\n' | grep -v '^d' | LC_ALL=C sort)
find copy -type f -printf '%T@ %p\n' | grep -c 981173106.789
mv copy out/moved
cp -r --sparse=always tree/sparse dense
cmp tree/sparse dense
stat -c '%h' tree/a/x/n7
du -s --apparent-size -B1 tree/sparse | cut -f1
rm -rf out/tree/a
rm -f all.tar all.tar.gz
