cd ..
git clone -q --no-local one two
cd two
git config remote.origin.url ../one
git log --format=%H
git fsck
git status --short
