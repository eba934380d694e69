mkdir d; for i in $(seq 50); do seq $i > d/$i; done; tar --sort=name --mtime=@0 -c d | gzip -n > t.tgz; rm -r d; tar xzf t.tgz; cat d/* | md5sum; gzip -t t.tgz; touch -d @0 d
