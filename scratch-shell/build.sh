#!/bin/sh
# Builds the scratch shell: busybox from Debian's source package, static, with musl.
#
#   build.sh [amd64|arm64 ...]     default: the architecture of this machine
#
# Writes bin/busybox-linux-ARCH beside this script, unless it exists and was built from the same
# inputs. DEBIAN_MIRROR=URI replaces the mirrors that apt is configured with. JOBS=N compiles N
# files at a time.
#
# The compiler is Debian's gcc for the architecture; musl and the start files come from the
# musl-dev package *of that architecture*, unpacked in a temporary directory. So both architectures
# have the same musl and the same recipe, on either kind of host, and the machine's dpkg needs no
# foreign architecture. Building musl from source would only repeat what Debian's build daemons
# did.
set -eu

# The pins. When a Debian point release replaces a package, its old files leave the mirrors: put
# the new version and the checksum from its .dsc (or, for musl-dev, from the Packages index) here,
# and build again. NOTICE names them too.
BUSYBOX_ORIG=1.35.0
BUSYBOX_ORIG_SHA256=faeeb244c35a348a334f4a59e44626ee870fb07b6884d68c10ae8bc19f83a694
BUSYBOX_DEBIAN=1.35.0-4+deb12u1
BUSYBOX_DEBIAN_SHA256=1cacbe095ef4880ea7879933c8e3c5075d1527cd6fbcb626a9b41e5daefd1a46
MUSL=1.2.3-1
MUSL_AMD64_SHA256=7c34f29a0c1aa12f6da1d25ed6de6fe6bbd9e048ee76b3dcb88c5e51fb65507f
MUSL_ARM64_SHA256=55c2ca4bc3041c8ed8ac7dc3ef6080d9551a21650568b2fd7610b59eaf98a4f4
# The time of the Debian release above, for tools that write a time into their output.
SOURCE_DATE_EPOCH=1772434781

here=$(cd "$(dirname "$0")" && pwd)
apt_helper=/usr/lib/apt/apt-helper
log=

die() {
	if [ -n "$log" ] && [ -s "$log" ]; then tail -n 20 "$log" >&2; fi
	echo "build.sh: $*" >&2
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# host_arch prints this machine's architecture in Debian's words.
host_arch() {
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64 | arm64) echo arm64 ;;
	*) die "$(uname -m) is not supported: run build.sh amd64 or build.sh arm64" ;;
	esac
}

# triple ARCH prints the prefix of the GNU tools for it.
triple() {
	case $1 in
	amd64) echo x86_64-linux-gnu ;;
	arm64) echo aarch64-linux-gnu ;;
	esac
}

# kernel_headers ARCH prints the two directories that hold linux/ and asm/.
kernel_headers() {
	if [ "$1" = "$(host_arch)" ]; then
		echo "/usr/include /usr/include/$(triple "$1")"
	else
		echo "/usr/$(triple "$1")/include /usr/$(triple "$1")/include"
	fi
}

# need_tools ARCH... stops with one line that names every missing package.
need_tools() {
	missing=
	add() { case " $missing " in *" $1 "*) ;; *) missing="$missing $1" ;; esac; }
	[ -x $apt_helper ] && have apt-get || add apt
	have gcc || add gcc
	[ -e /usr/include/stdio.h ] || add libc6-dev
	have make || add make
	have patch || add patch
	have bzip2 || add bzip2
	have xz || add xz-utils
	have dpkg-deb || add dpkg
	for arch; do
		t=$(triple "$arch")
		set -- $(kernel_headers "$arch")
		if [ "$arch" = "$(host_arch)" ]; then
			[ -d "$1/linux" ] && [ -d "$2/asm" ] || add linux-libc-dev
			have "$t-gcc" || add gcc
		else
			have "$t-gcc" || add "gcc-$(echo "$t" | tr _ -)"
			[ -d "$1/linux" ] && [ -d "$2/asm" ] || add "libc6-dev-$arch-cross"
		fi
	done
	[ -z "$missing" ] || die "missing tools: run apt-get install$missing"
}

# mirrors prints the base URIs to ask. It asks apt, which reads its own sources in whichever format
# they have.
mirrors() {
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "${DEBIAN_MIRROR%/}"
		return
	fi
	apt-get indextargets --no-release-info --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
		sed -n 's|/\{0,1\} main$||p' | awk '!seen[$0]++'
}

# fetch POOLPATH SHA256 PIN downloads the file to $work/dl. Its checksum is pinned, so any mirror
# will do, without an index.
fetch() {
	file=$work/dl/$(basename "$1")
	if [ -e "$file" ]; then return; fi
	asked=$(mirrors)
	[ -n "$asked" ] || die "apt has no mirrors: set DEBIAN_MIRROR to the URI of a Debian mirror"
	# "pool/updates" is where the security archive keeps its files.
	for uri in $asked; do
		for pool in pool pool/updates; do
			log=$work/log
			if $apt_helper -o APT::Sandbox::User=root download-file "$uri/$pool/$1" "$file" >>"$log" 2>&1; then
				sum=$(sha256sum <"$file" | cut -d' ' -f1)
				log=
				[ "$sum" = "$2" ] || die "$(basename "$1"): SHA-256 is $sum, but $3_SHA256 is $2"
				return
			fi
		done
	done
	if grep -qE ' 404 |File not found' "$log"; then
		log=
		die "$(basename "$1") is on no mirror ($(echo $asked)): update $3 and $3_SHA256 in build.sh, or set DEBIAN_MIRROR"
	fi
	die "$(basename "$1"): download failed"
}

# configure DIR writes its .config: our lines, and defaults for everything else.
configure() {
	cp "$here/config" "$1/.config"
	# An empty answer selects the default.
	yes '' 2>/dev/null | make -C "$1" -s oldconfig >>"$log" 2>&1 || die "busybox: make oldconfig failed"
	while read -r line; do
		case $line in
		CONFIG_*) grep -qxF "$line" "$1/.config" || { log=; die "config: $line was not accepted"; } ;;
		'# CONFIG_'*' is not set')
			name=${line#\# }
			name=${name% is not set}
			if grep -q "^$name=" "$1/.config"; then log=; die "config: $line: another option selects it"; fi
			;;
		esac
	done <"$here/config"
}

# check_variables DIR compares the environment variables that the compiled source reads with the
# list beside this script. "kdiag enter" decides by that list which of them may come from a
# container.
check_variables() {
	find "$1" -name '*.o' ! -path '*/scripts/*' | sed 's/o$/c/' | while read -r c; do if [ -e "$c" ]; then echo "$c"; fi; done |
		xargs grep -hE '(getenv|lookupvar|bltinlookup|wh_helper|envLen|xc_vm_init)\(|VTEXTFIXED|def(ifs|optind)var\[\]' |
		grep -oE '"[A-Za-z_][A-Za-z_0-9]+' | tr -d '"' | sort -u >"$work/variables"
	cmp -s "$work/variables" "$here/variables" && return
	diff "$here/variables" "$work/variables" >&2 || true
	die "the source reads other variables than $here/variables lists: update that and applets/enter/variables.go"
}

# build ARCH builds the shell for it, unless it is up to date.
build() {
	arch=$1
	t=$(triple "$arch")
	out=$here/bin/busybox-linux-$arch
	stamp=$here/bin/.stamp-$arch
	inputs=$(cat "$here/build.sh" "$here/config" "$here"/busybox/* | sha256sum | cut -d' ' -f1)
	if [ -s "$out" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$inputs" ]; then
		echo "bin/busybox-linux-$arch is up to date"
		return
	fi
	need_tools "$arch"

	case $arch in
	amd64) musl_sha256=$MUSL_AMD64_SHA256 ;;
	arm64) musl_sha256=$MUSL_ARM64_SHA256 ;;
	esac
	fetch "main/b/busybox/busybox_$BUSYBOX_ORIG.orig.tar.bz2" "$BUSYBOX_ORIG_SHA256" BUSYBOX_ORIG
	fetch "main/b/busybox/busybox_$BUSYBOX_DEBIAN.debian.tar.xz" "$BUSYBOX_DEBIAN_SHA256" BUSYBOX_DEBIAN
	fetch "main/m/musl/musl-dev_${MUSL}_$arch.deb" "$musl_sha256" MUSL

	dir=$work/$arch
	log=$work/log
	mkdir -p "$dir/include"
	tar -xjf "$work/dl/busybox_$BUSYBOX_ORIG.orig.tar.bz2" -C "$dir"
	src=$dir/busybox-$BUSYBOX_ORIG
	tar -xJf "$work/dl/busybox_$BUSYBOX_DEBIAN.debian.tar.xz" -C "$src"
	dpkg-deb -x "$work/dl/musl-dev_${MUSL}_$arch.deb" "$dir/musl"

	# Apply all of Debian's patches in order, which include its security fixes, and then ours.
	sed -e 's/[[:space:]]*#.*//' -e '/^$/d' -e "s|^|$src/debian/patches/|" "$src/debian/patches/series" >"$dir/series"
	ls "$here"/busybox/*.patch >>"$dir/series"
	while read -r p; do
		patch -d "$src" -p1 -s <"$p" >>"$log" 2>&1 || die "busybox: $(basename "$p") does not apply"
	done <"$dir/series"
	cp "$here"/busybox/*.c "$src/libbb/"

	# Use the kernel's headers, and nothing of glibc that lies beside them.
	set -- $(kernel_headers "$arch")
	for d in linux asm-generic mtd; do ln -s "$1/$d" "$dir/include/$d"; done
	ln -s "$2/asm" "$dir/include/asm"

	# -B and -L come before gcc's own directories, so that start files and -lc are musl's. Not
	# position independent: a static-pie would have a dynamic section and gain nothing. The wraps
	# are for busybox/exec.c, mounts.c, programs.c and relay.c.
	m=$dir/musl/usr
	mt=${t%-gnu}-musl
	cat >"$dir/cc" <<-EOF
		#!/bin/sh
		exec $t-gcc -nostdinc -isystem $m/include/$mt -isystem $($t-gcc -print-file-name=include) -isystem $dir/include \\
			-B$m/lib/$mt -L$m/lib/$mt -fno-pie -no-pie -Wl,--wrap=execve,--wrap=execvp,--wrap=open,--wrap=fopen,--wrap=main,--wrap=find_applet_by_name -ffile-prefix-map=$dir=. "\$@"
	EOF
	chmod +x "$dir/cc"

	configure "$src"
	echo "building bin/busybox-linux-$arch"
	make -C "$src" -s -j "$jobs" CC="$dir/cc" CROSS_COMPILE="$t-" BB_EXTRA_VERSION="kdiag, Debian 1:$BUSYBOX_DEBIAN" \
		busybox >>"$log" 2>&1 </dev/null || die "busybox: make failed for $arch"
	log=
	check_variables "$src"

	# Rename it into place from a name that is not embedded, so that a go build at the same time
	# never sees half a file.
	install -m 755 "$src/busybox" "$here/bin/.$arch.$$"
	mv -f "$here/bin/.$arch.$$" "$out"
	echo "$inputs" >"$stamp"
	echo "bin/busybox-linux-$arch: $(wc -c <"$out") bytes, sha256 $(sha256sum <"$out" | cut -d' ' -f1)"
}

main() {
	if [ $# -eq 0 ]; then set -- "$(host_arch)"; fi
	for arch; do
		case $arch in
		amd64 | arm64) ;;
		*)
			echo "usage: build.sh [amd64|arm64 ...]" >&2
			exit 2
			;;
		esac
	done

	# busybox's make reads these. The environment must not change the result.
	unset CFLAGS CPPFLAGS LDFLAGS ARCH CROSS_COMPILE KBUILD_OUTPUT MAKEFLAGS MFLAGS MAKELEVEL
	LC_ALL=C
	KCONFIG_NOTIMESTAMP=1
	export LC_ALL KCONFIG_NOTIMESTAMP SOURCE_DATE_EPOCH
	jobs=${JOBS:-$(nproc)}

	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 1' HUP INT TERM
	mkdir -p "$work/dl" "$here/bin"

	for arch; do build "$arch"; done
}

main "$@"
