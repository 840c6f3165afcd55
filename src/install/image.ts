/**
 * The recipe of a container image: the executable carries its libraries, so the image is busybox
 * and one file. Text for `podman build` or `docker build`.
 *
 * @module
 */

/** The recipe; build it in the folder that has `weft`. */
export function containerfile(): string {
  return `# podman build -t weft -f - . < Containerfile
#
# The agent works on the node itself, so it runs with the node's namespaces and directories:
#   podman run --privileged --network host --cgroupns host \\
#     -v /sys/fs/bpf:/sys/fs/bpf:rshared -v /sys/fs/cgroup:/sys/fs/cgroup \\
#     -v /run/netns:/run/netns:rslave -v /run/weft:/run/weft -v /var/lib/weft:/var/lib/weft \\
#     -v /etc/weft:/etc/weft:ro weft run --source /etc/weft --nodes-dir /var/lib/weft/nodes
FROM docker.io/library/busybox:1.37
COPY weft /bin/weft
ENTRYPOINT ["/bin/weft"]
CMD ["--help"]
`;
}
