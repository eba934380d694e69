echo local > f
curl -sS file://$PWD/f
