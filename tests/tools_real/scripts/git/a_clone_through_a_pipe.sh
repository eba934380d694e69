cd ..
git clone -q --no-local one two
cd two
git log --format=%H
git fsck
git status --short
