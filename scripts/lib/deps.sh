# SPDX-License-Identifier: MIT OR Apache-2.0
# shellcheck shell=bash
#
# Sourced. deps_install GROUP... installs what those groups need and the machine lacks, from Debian's
# packages; when nothing is missing that is one call of dpkg-query.

deps_packages()
{
	case $1 in
	build) echo build-essential cmake ninja-build pkg-config liburing-dev libssl-dev ;;
	test) echo libcmocka-dev libck-dev netcat-openbsd openssl socat strace python3 util-linux clang-format-19 ;;
	clang) echo clang llvm libclang-rt-dev ;;
	tidy) echo clang-tidy-19 ;;
	coverage) echo gcovr ;;
	arm64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
	model) echo spin relacy-dev gcc g++ ;;
	*)
		printf 'deps_packages: there is no group %s\n' "$1" >&2
		return 1
		;;
	esac
}

# A package may go by another name, or be provided by one: pkgconf is pkg-config, and the runtimes of
# the sanitizers come with a version in their name.
deps_have()
{
	case $1 in
	pkg-config) command -v pkg-config >/dev/null ;;
	libclang-rt-dev) deps_clang_runs ;;
	*) [[ " $deps_installed " == *" $1 "* ]] ;;
	esac
}

deps_clang_runs()
{
	command -v clang >/dev/null &&
		compgen -G "$(clang -print-resource-dir)/lib/linux/libclang_rt.asan-*.a" >/dev/null
}

deps_missing()
{
	local package packages
	packages=$(for group; do deps_packages "$group" || exit 1; done) || return 1
	# shellcheck disable=SC2086
	deps_installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
		sed -n 's/^installed //p' | tr '\n' ' ') || true
	for package in $packages; do
		deps_have "$package" || printf '%s ' "$package"
	done
}

deps_apt()
{
	DEBIAN_FRONTEND=noninteractive "${deps_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 "$@" </dev/null >"$deps_log" 2>&1
}

deps_install()
{
	local missing deps_installed deps_log deps_root=()
	if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
		printf 'not Debian: the build will say what it misses\n' >&2
		return 0
	fi
	missing=$(deps_missing "$@") || return 1
	[[ -n ${missing// /} ]] || return 0

	if [[ $(id -u) -ne 0 ]]; then
		if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
			printf 'missing packages, and neither root nor sudo to install them. As root:\n' >&2
			printf '  apt-get install --no-install-recommends %s\n' "$missing" >&2
			return 1
		fi
		deps_root=(sudo -n)
	fi
	printf 'installing %s\n' "$missing"
	deps_log=$(mktemp)
	# The lists may be there already, or be too old.
	# shellcheck disable=SC2086
	if ! deps_apt install --no-install-recommends -y $missing &&
		! { deps_apt update && deps_apt install --no-install-recommends -y $missing; }; then
		cat "$deps_log" >&2
		rm -f "$deps_log"
		printf 'could not install %s\n' "$missing" >&2
		return 1
	fi
	rm -f "$deps_log"
}
