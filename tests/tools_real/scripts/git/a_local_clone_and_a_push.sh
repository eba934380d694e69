cd ..
git clone -q --bare one bare
git --git-dir=bare config remote.origin.url ../one
cd one
git checkout -q -b topic
echo x > x
git add x
git commit -q -m third
git push -q ../bare topic
git --git-dir=../bare log --format='%H %s' topic
