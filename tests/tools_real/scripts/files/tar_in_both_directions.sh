mkdir d
seq 1 3000 > d/n
ln -s n d/l
tar --sort=name --mtime=@0 --owner=0 --group=0 -cf t.tar d
md5sum t.tar
mkdir x
tar -C x -xf t.tar
diff -r d x/d && tar tf t.tar
rm -r x d
