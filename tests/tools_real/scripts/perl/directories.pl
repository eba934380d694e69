mkdir "d$_" for 1..50; opendir D, "."; print join ",", sort grep { -d && !/^\./ } readdir D
