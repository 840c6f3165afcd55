/**
 * What the root directory of this process is. In: /proc. Out: how a new mount namespace can be kept
 * from passing its mounts on.
 *
 * @module
 */

/**
 * Propagation to ask `unshare` for. A root that is no mount point, as `chroot` into a plain folder
 * makes it, has no propagation that could be set: there, what is mounted must be unmounted.
 */
export function rootPropagation(wanted: "private" | "slave"): "private" | "slave" | "unchanged" {
  const mounts = Deno.readTextFileSync("/proc/self/mountinfo");
  return /^(?:\S+ ){4}\/ /m.test(mounts) ? wanted : "unchanged";
}
