#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
#   consume.sh install CMAKE BUILD_DIR WORK          install, then move the tree: nothing may notice
#   consume.sh cmake|pkgconfig shared|static c|cxx VERSION WORK
#                                                    build the consumer with it and run it
#   consume.sh other_version WORK                    find_package refuses versions we don't promise
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail()
{
	printf '%s\n' "$1" >&2
	exit 1
}

# The directory of the tree that holds what find(1) is asked for.
dir_of()
{
	local found
	found=$(find "$work/prefix" -name "$1" -print -quit)
	[[ -n $found ]] || fail "no $1 in the installed tree"
	dirname "$found"
}

install_tree()
{
	local cmake=$1 build=$2
	rm -rf "$work"
	mkdir -p "$work"
	"$cmake" --install "$build" --prefix "$work/first" >"$work/install.log" ||
		fail "$(cat "$work/install.log")"
	mv "$work/first" "$work/prefix"
	if grep -rIl -e "$work/first" -e "$build" "$work/prefix"; then
		fail "the files above know where they were built or installed"
	fi
}

# Runs the program that was built at $1 and holds it to the version.
run_consumer()
{
	local out
	out=$(LD_LIBRARY_PATH=$(dir_of libringline.so) "$1") || fail "the consumer failed: $out"
	[[ $out == "header $version library $version" ]] || fail "expected version $version, got: $out"
	if [[ $linkage == shared ]]; then
		readelf -d "$1" | grep -q 'NEEDED.*\[libringline\.so\.' || fail "not linked to the shared library"
	elif readelf -d "$1" | grep -q 'NEEDED.*\[libringline'; then
		fail "linked to the shared library"
	fi
}

by_cmake()
{
	local dir=$work/cmake_${linkage}_$language upper=C
	[[ $language == c ]] || upper=CXX
	rm -rf "$dir"
	cmake -S "$here/consumer" -B "$dir" -DCMAKE_PREFIX_PATH="$work/prefix" -DCONSUMER_LINKAGE="$linkage" \
		-DCONSUMER_LANGUAGE="$upper" -DCONSUMER_VERSION="$version" >"$dir.log" 2>&1 ||
		fail "$(cat "$dir.log")"
	cmake --build "$dir" >"$dir.log" 2>&1 || fail "$(cat "$dir.log")"
	run_consumer "$dir/consumer"
}

by_pkgconfig()
{
	local dir=$work/pkgconfig_${linkage}_$language compiler=cc source=consumer.c flags libs
	if [[ $language == cxx ]]; then
		compiler=c++
		source=consumer.cc
	fi
	rm -rf "$dir"
	mkdir -p "$dir"
	PKG_CONFIG_PATH=$(dir_of ringline.pc)
	export PKG_CONFIG_PATH
	[[ $(pkg-config --modversion ringline) == "$version" ]] || fail "ringline.pc is not of version $version"
	flags=$(pkg-config --cflags ringline)
	if [[ $linkage == static ]]; then
		# The rest of the program stays dynamic: only our archive is wanted.
		libs=$(pkg-config --static --libs ringline)
		libs=${libs/-lringline/-l:libringline.a}
	else
		libs=$(pkg-config --libs ringline)
		[[ $libs != *uring* && $libs != *-lck* ]] || fail "a shared link names private libraries: $libs"
	fi
	# shellcheck disable=SC2086
	"$compiler" -Wall -Wextra -Wpedantic -Werror $flags "$here/consumer/$source" -o "$dir/consumer" $libs
	run_consumer "$dir/consumer"
}

other_version()
{
	local wanted dir
	for wanted in 99.0 0.999; do
		dir=$work/version_$wanted
		rm -rf "$dir"
		if cmake -S "$here/consumer" -B "$dir" -DCMAKE_PREFIX_PATH="$work/prefix" \
			-DCONSUMER_VERSION="$wanted" >"$dir.log" 2>&1; then
			fail "find_package(ringline $wanted) was satisfied"
		fi
		grep -q 'not compatible\|not\s*considered\|requested version\|compatible with requested' "$dir.log" ||
			fail "refused $wanted for another reason: $(cat "$dir.log")"
	done
}

mode=$1
work=${*: -1}
case $mode in
install)
	work=$4
	install_tree "$2" "$3"
	;;
cmake | pkgconfig)
	linkage=$2
	language=$3
	version=$4
	"by_$mode"
	;;
other_version)
	other_version
	;;
*)
	fail "usage: see the head of $0"
	;;
esac
