git checkout -q -b side HEAD~1
echo side > side
git add side
git commit -q -m side
git checkout -q main
git merge -q -m merged side
git log --oneline --graph
