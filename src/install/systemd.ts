/**
 * The systemd unit of an agent. In comes where the executable and the source are, out goes the text
 * of the unit. Invariant: the agent keeps the node's own mount and network namespaces, for what it
 * pins and attaches is the node's; it is restarted always, for a dead agent means that pods of the
 * mesh connect no more.
 *
 * @module
 */

export interface SystemdOptions {
  /** of the executable, absolute */
  readonly executable: string;
  /** folder of YAML, absolute */
  readonly source: string;
}

/** The unit. */
export function systemdUnit({ executable, source }: SystemdOptions): string {
  return `[Unit]
Description=weft, the service mesh agent of this node
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=${quoted(executable)} run --source ${quoted(source)}
Restart=always
RestartSec=1
TimeoutStopSec=30

# weft.sock, and what the executable unpacks: kept, so that a restart is quick.
RuntimeDirectory=weft
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
# Keys and certificates.
StateDirectory=weft
StateDirectoryMode=0700

# No namespaces of its own: pins, cgroup programs and veths are the node's.
CapabilityBoundingSet=${CAPABILITIES.join(" ")}
NoNewPrivileges=yes
LimitNOFILE=1048576
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
`;
}

/** Programs and links; pods' namespaces and mounts; files of pods' owners; limits. */
const CAPABILITIES = [
  "CAP_BPF",
  "CAP_PERFMON",
  "CAP_NET_ADMIN",
  "CAP_SYS_ADMIN",
  "CAP_DAC_OVERRIDE",
  "CAP_SYS_RESOURCE",
] as const;

/** A word of ExecStart: quotes, and no specifiers or variables. */
function quoted(word: string): string {
  const escaped = word.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("%", "%%").replaceAll("$", "$$$$");
  return /^[\w@/.:+-]+$/.test(word) ? word : `"${escaped}"`;
}
