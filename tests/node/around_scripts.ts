/**
 * Shell scripts of attackers, for tests.
 *
 * @module
 */

/**
 * Runs a command as the process that has a certain id, and prints the id first: `PID COMMAND…`.
 * Whoever starts a process in between has the id for a moment; then it is tried again.
 */
export const TAKE_PID = `
  wanted=$1
  shift
  for _ in $(seq 500); do
    echo $((wanted - 1)) >/proc/sys/kernel/ns_last_pid
    sh -c '[ $$ -eq "$0" ] || exit 99; echo $$; exec "$@"' "$wanted" "$@"
    code=$?
    [ $code -eq 99 ] || exit $code
  done
  echo "somebody else has the process id $wanted" >&2
  exit 98`;

/**
 * Takes the pod's interface, with its addresses, into a user and network namespace inside of it,
 * and asks URLs from there: `IPV4 IPV6 GATEWAY4 GATEWAY6 URL…`. The interface goes with it.
 */
export const NESTED = `
  folder=$(mktemp -d)
  mkfifo "$folder/id" "$folder/go"
  user="--user --map-root-user"
  unshare $user true 2>/dev/null || user= # in a chroot the kernel gives none
  unshare $user --net sh -c '
    echo $$ >"$1/id"
    read -r _ <"$1/go"
    ip link set lo up
    ip link set eth0 up
    ip addr add "$2/24" dev eth0
    ip addr add "$3/64" dev eth0 nodad
    ip route add default via "$4"
    ip route add default via "$5"
    shift 5
    for url; do
      curl -gs -m 5 -o /dev/null -w "%{http_code} " "$url"
      echo $?
    done' sh "$folder" "$@" &
  read -r id <"$folder/id"
  ip link set eth0 netns "$id"
  echo >"$folder/go"
  wait $!
  rm -r "$folder"`;
