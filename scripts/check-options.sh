#!/bin/sh
# check-options.sh - every option that the program knows is in etc/cqlferry.ini, under its section, and in the
# reference tables of docs/config.md, which are what the program prints. Neither may have options it does not know.
#
#   CQLFERRY=./cqlferry scripts/check-options.sh            checks; exit 1 and a list of differences when they differ
#   CQLFERRY=./cqlferry scripts/check-options.sh --update   writes the tables into docs/config.md first
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
ini=$top/etc/cqlferry.ini
doc=$top/docs/config.md
program=${CQLFERRY:?set CQLFERRY to the cqlferry program to ask}
begin='<!-- options: begin -->'
end='<!-- options: end -->'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

"$program" --print-options >"$scratch/options"
if ! grep -q '^| `contact_points` ' "$scratch/options"; then
	echo "check-options: $program --print-options printed no table of options" >&2
	exit 1
fi
if [ "$(grep -cxF -e "$begin" -e "$end" "$doc")" -ne 2 ]; then
	echo "check-options: $doc must have the lines '$begin' and '$end' once each" >&2
	exit 1
fi

if [ "${1-}" = --update ]; then
	sed "/^$begin\$/q" "$doc" >"$scratch/doc"
	cat "$scratch/options" >>"$scratch/doc"
	sed -n "/^$end\$/,\$p" "$doc" >>"$scratch/doc"
	cat "$scratch/doc" >"$doc"
fi

status=0
sed -n "/^$begin\$/,/^$end\$/p" "$doc" | sed '1d;$d' >"$scratch/documented"
if ! diff -u --label docs/config.md --label 'cqlferry --print-options' "$scratch/documented" "$scratch/options"; then
	echo "check-options: docs/config.md is not what the program says; run with --update" >&2
	status=1
fi

# "section key" a line. A heading of the tables may name several sections: all of them have the keys below it. Those
# that nothing has without a NAME are commented out in the INI file.
awk '
	/^### / {
		count = 0
		while (match($0, /`\[(plugin NAME|[a-z]+)\]`/)) {
			sections[++count] = substr($0, RSTART + 2, RLENGTH - 4)
			sub(/ NAME/, "", sections[count])
			$0 = substr($0, RSTART + RLENGTH)
		}
	}
	count && /^\| `/ {
		split($0, cell, "`")
		for (i = 1; i <= count; i++)
			print sections[i], cell[2]
	}
' "$scratch/options" | sort >"$scratch/known"
awk '
	/^;?\[.*\]/ { section = $0; gsub(/^;?\[|[] ].*/, "", section) }
	/^;?[a-z_]+ =/ { sub(/^;/, "", $1); print section, $1 }
' "$ini" | sort >"$scratch/shown"
for kind in missing unknown; do
	if [ $kind = missing ]; then
		comm -23 "$scratch/known" "$scratch/shown"
	else
		comm -13 "$scratch/known" "$scratch/shown"
	fi >"$scratch/found"
	while read -r section key; do
		echo "check-options: etc/cqlferry.ini: [$section] $key is $kind (or stands there twice)" >&2
		status=1
	done <"$scratch/found"
done

[ $status -eq 0 ] && echo "check-options: $(wc -l <"$scratch/known") options, all of them documented"
exit $status
