#!/bin/sh
# weft, one executable: this header and, behind it, all that weft is made of. The first start
# checks and unpacks that into folders named by their content; later starts only check that the
# folders are whole and still belong to the caller alone. Made by scripts/build.ts from
# launcher.sh beside it. It needs a POSIX shell and what busybox has, and no libc.
set -u
umask 077
unset LD_PRELOAD LD_LIBRARY_PATH # the libraries of the host are not for the runtime carried here

app=@APP@ app_hash=@APP_HASH@ app_at=@APP_AT@ app_size=@APP_SIZE@
runtime=@RUNTIME@ runtime_hash=@RUNTIME_HASH@ runtime_at=@RUNTIME_AT@ runtime_size=@RUNTIME_SIZE@
boot_size=@BOOT_SIZE@       # the first part of the runtime: what unpacks the rest of it
loader=@LOADER@
interpreter_at=@INTERPRETER_AT@ interpreter_size=@INTERPRETER_SIZE@ # where deno names its loader

main() {
  # The loader finds the libraries, and deno itself, through it.
  [ -e /proc/self/exe ] || fail "this needs /proc: mount -t proc proc /proc"
  uid=$(id -u 2>&1) || { find_tools && uid=$(id -u); } || fail "found no tool \"id\""
  for nth in 1 2 3 4; do
    candidate $nth && is_ready "$app" "$runtime" && start "$@"
  done
  find_tools
  check_part app "$app_at" "$app_size" "$app_hash"
  check_part runtime "$runtime_at" "$runtime_size" "$runtime_hash"
  trap 'discard' EXIT
  trap 'exit 130' INT TERM HUP
  for nth in 1 2 3 4; do
    candidate $nth && prepare && unpack_app && unpack_runtime && start "$@"
    discard
  done
  fail "found no folder to unpack to; tried $tried${said:+ ($said)};" \
    "set XDG_CACHE_HOME to one that can be written to and executed from"
}

# Sets $base to the nth folder that may hold what is unpacked; false where there is none.
candidate() {
  case $1:$uid in
    1:0) base=/run/weft/exec ;;
    1:*) base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}} && base=${base:+$base/weft/exec} ;;
    2:0) base=${XDG_CACHE_HOME:+$XDG_CACHE_HOME/weft/exec} ;;
    2:*) base= ;;
    3:*) [ -d /dev/shm ] && base=/dev/shm/weft-$uid || base= ;;
    4:*) base=/tmp/weft-$uid ;;
  esac
  case $base in /*) ;; *) return 1 ;; esac
}

# True if the folders of $base that are named, one or two, are complete and their owner's alone.
is_ready() {
  set -- "$base" "$base/$1" "$base/$1/ok" "$base/${2:-$1}" "$base/${2:-$1}/ok"
  [ "$(stat -c %u:%a "$@" 2>&1)" = "$uid:700
$uid:700
$uid:400
$uid:700
$uid:400" ]
}

start() {
  trap - EXIT
  export DENO_DIR="$base/cache" DENO_NO_UPDATE_CHECK=1
  exec "$base/$runtime/deno" @RUN@ "$@"
}

# Prints part of this file: its offset, its size.
part() {
  tail -c "+$(($1 + 1))" "$self" | head -c "$2"
}

check_part() {
  sum=$(part "$2" "$3" | sha256sum)
  [ "${sum%% *}" = "$4" ] ||
    fail "the $1 in \"$self\" is damaged: its SHA-256 is ${sum%% *}, want $4"
}

# Makes $base and learns whether programs may run there.
prepare() {
  tried="${tried:+$tried, }\"$base\""
  mounting=false
  quietly mkdir -p "$base" || mount_run || return 1
  [ "$(stat -c %u:%a "$base")" = "$uid:700" ] || return 1
  make_scratch && printf '#!/bin/sh\nexit 0\n' >"$scratch/probe" || return 1
  chmod 700 "$scratch/probe"
  if ! quietly "$scratch/probe"; then
    [ "$uid" = 0 ] || return 1
    mounting=true
  fi
  discard
}

# A root file system that is read-only and has nothing at /run gets what an init would put there.
mount_run() {
  [ "$base" = /run/weft/exec ] && [ -d /run ] && [ -z "$(ls -A /run)" ] || return 1
  quietly mount -t tmpfs -o mode=755,nosuid,nodev weft /run && mkdir -p "$base"
}

unpack_app() {
  is_ready "$app" && return
  make_scratch || return 1
  part "$app_at" "$app_size" | gunzip -c | tar -xof - -C "$scratch" || return 1
  publish "$app"
}

unpack_runtime() {
  is_ready "$runtime" && return
  make_scratch || return 1
  if $mounting; then
    mount -t tmpfs -o mode=700,nosuid,nodev weft "$scratch" || return 1
    mounted=$scratch
  fi
  part "$runtime_at" "$boot_size" | gunzip -c | tar -xof - -C "$scratch" || return 1
  part $((runtime_at + boot_size)) $((runtime_size - boot_size)) |
    "$scratch/$loader" --library-path "$scratch:$scratch/unpack" "$scratch/unpack/zstd" -dcq |
    tar -xof - -C "$scratch" || return 1
  rm -r "$scratch/unpack"
  bind_loader "$base/$runtime/$loader" || return 1
  publish "$runtime"
}

# Writes the loader's path into deno, which was linked with room for a long one.
bind_loader() {
  [ ${#1} -lt "$interpreter_size" ] || return 1
  printf '%s\0' "$1" | quietly dd of="$scratch/deno" bs=1 seek="$interpreter_at" conv=notrunc
}

# Gives $scratch its name. Whoever comes first wins; the same content makes the others' harmless.
publish() {
  : >"$scratch/ok" && chmod 400 "$scratch/ok" || return 1
  [ ! -e "$base/$1" ] || is_ready "$1" || rm -rf "${base:?}/$1"
  if [ -n "$mounted" ]; then
    mkdir -p "$base/$1" && { is_ready "$1" || mount -o bind "$scratch" "$base/$1"; } || return 1
  else
    quietly mv -T "$scratch" "$base/$1"
  fi
  discard
  is_ready "$1"
}

make_scratch() {
  # What a start that was killed left behind is nobody's after ten minutes.
  quietly find "$base" -maxdepth 1 -name '.new.*' -mmin +10 -exec rm -rf {} +
  scratch=$(mktemp -d "$base/.new.XXXXXX") || { scratch=; return 1; }
}

discard() {
  [ -z "$mounted" ] || umount "$mounted"
  [ -z "$scratch" ] || rm -rf "$scratch"
  mounted= scratch=
}

# A busybox that has no links for its tools is called by its path.
find_tools() {
  for tool in chmod dd find gunzip head id ls mkdir mktemp mount mv rm sha256sum stat tail tar \
    umount; do
    case $(command -v $tool) in
      /*) ;;
      *) eval "$tool() { /bin/busybox $tool \"\$@\"; }" ;;
    esac
  done
}

# Runs a command and keeps what it says; a bare root has no /dev/null to send that to.
quietly() {
  said=$("$@" 2>&1)
}

fail() {
  echo "weft: $*" >&2
  exit 1
}

self=$0 mounted='' scratch='' tried='' base='' said=''
main "$@"
exit 1 # never read on: what follows is not shell
