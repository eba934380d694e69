# Several threads may find different deltas.
git config pack.threads 1
git gc -q --prune=now
git count-objects -v | grep -v size
git fsck --full
git cat-file -p HEAD:renamed | md5sum
