/**
 * What weft needs of the kernel and the machine: each with what it is for, whether it is there, and
 * what happens without it. In comes the machine, out go findings. Invariant: what can be tried is
 * tried (programs are loaded, maps made, a socket's end requested), never concluded from a version:
 * distributions backport and configure away. Nothing is attached and nothing stays.
 *
 * @module
 */
import { AttachType, MapType, ProgramType } from "../../ffi/bpf/constants.ts";
import { queryTcx } from "../../ffi/bpf/link.ts";
import {
  hasHelper,
  hasKernelBtf,
  hasMapType,
  hasProgramType,
  Helper,
  libbpfVersion,
} from "../../ffi/bpf/probe.ts";
import { Errno } from "../../ffi/errno.ts";
import { LibraryError, SyscallError } from "../../ffi/errors.ts";
import { listLinks } from "../../ffi/linux/links.ts";
import { destroySocket, type SocketInfo, TcpState } from "../../ffi/linux/sock_diag.ts";
import { readCstring } from "../../ffi/memory.ts";
import { libcrypto } from "../../ffi/tls/symbols.ts";
import { formatError } from "../errors.ts";
import { mountPoints, readMounts } from "./mounts.ts";

/** Something that weft uses. */
export interface Feature {
  readonly name: string;
  /** what weft does with it */
  readonly purpose: string;
  /** without it weft does not run */
  readonly required: boolean;
  /** what happens without it, or what to do */
  readonly without: string;
  readonly probe: () => Answer;
}

/** `detail` is a fact, such as a version or a path. */
export type Answer = { readonly present: boolean | "unknown"; readonly detail?: string };

/** A feature and its answer. */
export interface Finding extends Omit<Feature, "probe">, Answer {}

/** Probes everything, in the order in which a reader needs it. */
export function findFeatures(features: readonly Feature[] = FEATURES): Finding[] {
  return features.map(({ probe, ...feature }) => ({ ...feature, ...answerOf(probe) }));
}

/** A probe that cannot be tried says so; it does not say no. */
function answerOf(probe: () => Answer): Answer {
  try {
    return probe();
  } catch (error) {
    if (error instanceof LibraryError) return { present: false, detail: formatError(error) };
    if (error instanceof SyscallError && error.errno === Errno.EPERM) {
      return UNTRIED;
    }
    return { present: "unknown", detail: formatError(error) };
  }
}

const UNTRIED: Answer = { present: "unknown", detail: "cannot be tried without root" };

/** The oldest kernel with all that is required (DESIGN §14 names what each one brought). */
const KERNEL_MIN = [6, 1] as const;

const FEATURES: readonly Feature[] = [
  {
    name: "Linux 6.1",
    purpose: "the oldest kernel that has all that weft cannot do without",
    required: true,
    without: "use a newer kernel",
    probe: kernelVersion,
  },
  {
    name: "capabilities",
    purpose: "loading programs, attaching them, entering pods' network namespaces",
    required: true,
    without: "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN",
    probe: capabilities,
  },
  {
    name: "cgroup2",
    purpose: "seeing connect() of every process of the node",
    required: true,
    without: "mount it: mount -t cgroup2 none /sys/fs/cgroup",
    probe: () => {
      const [path] = mountPoints(readMounts(), "cgroup2");
      return path === undefined ? { present: false } : { present: true, detail: path };
    },
  },
  {
    name: "bpffs",
    purpose: "pins: what is enforced outlives the agent",
    required: true,
    without: "the kernel needs CONFIG_BPF_SYSCALL",
    probe: bpffs,
  },
  {
    name: "cgroup/connect4|6 programs",
    purpose: "refusing, translating and steering connect()",
    required: true,
    without: "the kernel needs CONFIG_CGROUP_BPF",
    probe: () => program(ProgramType.CGROUP_SOCK_ADDR),
  },
  {
    name: "sockops programs",
    purpose: "telling the relay and the application who the other end is",
    required: true,
    without: "the kernel needs CONFIG_CGROUP_BPF",
    probe: () => program(ProgramType.SOCK_OPS),
  },
  {
    name: "sk_lookup programs",
    purpose: "handing connections to the relay inside the pod",
    required: true,
    without: "use Linux 5.9 or newer with CONFIG_BPF_SYSCALL and CONFIG_NET_NS",
    probe: () => program(ProgramType.SK_LOOKUP),
  },
  {
    name: "tc programs",
    purpose: "the guard on each pod's veth",
    required: true,
    without: "the kernel needs CONFIG_NET_CLS_ACT and CONFIG_NET_CLS_BPF",
    probe: () => program(ProgramType.SCHED_CLS),
  },
  {
    name: "bpf_set_retval",
    purpose: "a refused connect() fails with ECONNREFUSED",
    required: true,
    without: "applications would see EPERM, which many take for a fault of their own",
    probe: () => helper(ProgramType.CGROUP_SOCK_ADDR, Helper.SET_RETVAL),
  },
  {
    name: "netns cookies in connect hooks",
    purpose: "knowing which pod connects, unforgeably",
    required: true,
    without: "pods could not be told apart",
    probe: () =>
      both(
        helper(ProgramType.CGROUP_SOCK_ADDR, Helper.GET_NETNS_COOKIE),
        helper(ProgramType.SOCK_OPS, Helper.GET_NETNS_COOKIE),
      ),
  },
  {
    name: "socket storage",
    purpose: "remembering per socket where it was going",
    required: true,
    without: "the kernel needs CONFIG_NET and CONFIG_BPF_SYSCALL, 5.2 or newer",
    probe: () =>
      both(map(MapType.SK_STORAGE), helper(ProgramType.CGROUP_SOCK_ADDR, Helper.SK_STORAGE_GET)),
  },
  {
    name: "map types",
    purpose: "the relay's listeners (sockmap), address ranges (LPM), connections (LRU), events",
    required: true,
    without: "use Linux 5.8 or newer with CONFIG_BPF_STREAM_PARSER or CONFIG_NET_SOCK_MSG",
    probe: () =>
      both(...[MapType.SOCKMAP, MapType.LPM_TRIE, MapType.LRU_HASH, MapType.RINGBUF].map(map)),
  },
  {
    name: "kernel types (BTF)",
    purpose: "fitting programs to this kernel: whether its sockets know MPTCP",
    required: true,
    without: "no program can be loaded: the kernel needs CONFIG_DEBUG_INFO_BTF" +
      " (/sys/kernel/btf/vmlinux)",
    probe: () => ({ present: hasKernelBtf() }),
  },
  {
    name: "bpf_sk_lookup_tcp in tc",
    purpose: "a port on which nobody listens stays refused",
    required: true,
    without: "closed ports would accept and then reset, and every probe would pass",
    probe: () => helper(ProgramType.SCHED_CLS, Helper.SK_LOOKUP_TCP),
  },
  {
    name: "TCX links",
    purpose: "the guard runs before every other program on the veth, and outlives the agent",
    required: false,
    without: "it is a clsact filter instead: another program can be put in front of it",
    probe: tcx,
  },
  {
    name: "netns cookies in tc",
    purpose: "telling the node's own probes from packets that a bridge carries (Linux 6.18)",
    required: false,
    without: "told by the packet's socket and its arrival interface alone",
    probe: () => helper(ProgramType.SCHED_CLS, Helper.GET_NETNS_COOKIE),
  },
  {
    name: "SOCK_DESTROY",
    purpose: "resetting live connections that a policy no longer allows",
    required: false,
    without: "they are dropped, so applications notice by their own time-outs only" +
      " (CONFIG_INET_DIAG_DESTROY)",
    probe: sockDestroy,
  },
  {
    name: "IPv6",
    purpose: "pods with IPv6 addresses",
    required: true,
    without: "the relay listens on dual-stack sockets: enable IPv6 (it needs no IPv6 network)",
    probe: () => ({ present: readOrEmpty("/proc/net/if_inet6") !== undefined }),
  },
  {
    name: "libbpf 1.3",
    purpose: "loading and attaching programs",
    required: true,
    without: "use the executable that `deno task build` makes: it carries libbpf",
    probe: () => libraryVersion(libbpfVersion(), [1, 3]),
  },
  {
    name: "OpenSSL 3.5",
    purpose: "TLS 1.3 of the relay, with X25519MLKEM768",
    required: true,
    without: "use the executable that `deno task build` makes: it carries OpenSSL",
    probe: () => libraryVersion(readCstring(libcrypto().OpenSSL_version(0)), [3, 5]),
  },
  {
    name: "BPF JIT",
    purpose: "programs at native speed",
    required: false,
    without: "packets and connects cost several times more: sysctl net.core.bpf_jit_enable=1",
    probe: () => {
      const value = readOrEmpty("/proc/sys/net/core/bpf_jit_enable")?.trim();
      return value === undefined ? { present: "unknown" } : { present: value !== "0" };
    },
  },
  {
    name: "bridged packets bypass iptables",
    purpose: "pods of one bridge reach each other whatever the host's iptables say",
    required: false,
    without: "the host's FORWARD rules apply to them: sysctl net.bridge.bridge-nf-call-iptables=0",
    probe: () => {
      const value = readOrEmpty("/proc/sys/net/bridge/bridge-nf-call-iptables")?.trim();
      return { present: value !== "1" };
    },
  },
  {
    name: "pods on veths",
    purpose: "the guard sits on the host's end of each pod's veth",
    required: false,
    without: "pods behind netkit, ipvlan or macvlan are not seen: they are refused, not enrolled",
    probe: () => {
      const other = listLinks().filter(({ kind }) => OTHER_POD_LINKS.has(kind));
      const names = other.map(({ name, kind }) => `${name} (${kind})`).join(", ");
      return other.length === 0 ? { present: true } : { present: false, detail: names };
    },
  },
];

/** Kinds of interfaces by which CNIs reach pods past the host's end of a veth. */
const OTHER_POD_LINKS: ReadonlySet<string> = new Set(["netkit", "ipvlan", "ipvtap", "macvlan"]);

function program(type: ProgramType): Answer {
  return tried(hasProgramType(type));
}

function map(type: MapType): Answer {
  return tried(hasMapType(type));
}

function helper(type: ProgramType, id: Helper): Answer {
  return tried(hasHelper(type, id));
}

function both(...answers: readonly Answer[]): Answer {
  return answers.find(({ present }) => present === false) ??
    answers.find(({ present }) => present === "unknown") ?? { present: true };
}

/** The kernel's no to who may not load anything says nothing about the kernel. */
function tried(present: boolean): Answer {
  return present || capabilities().present === true ? { present } : UNTRIED;
}

function kernelVersion(): Answer {
  const release = (readOrEmpty("/proc/sys/kernel/osrelease") ?? "").trim();
  return { present: isAtLeast(release, KERNEL_MIN), detail: release };
}

/** "6.18.0-rc1" against [6, 1]. */
function isAtLeast(text: string, minimum: readonly [number, number]): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(text) ?? [];
  const numbers = [Number(major), Number(minor)] as const;
  return numbers[0] > minimum[0] || (numbers[0] === minimum[0] && numbers[1] >= minimum[1]);
}

/** CAP_* that are used, by bit number. */
const CAPABILITIES = [
  ["CAP_NET_ADMIN", 12],
  ["CAP_SYS_ADMIN", 21],
  ["CAP_PERFMON", 38],
  ["CAP_BPF", 39],
] as const;

function capabilities(): Answer {
  const status = readOrEmpty("/proc/self/status") ?? "";
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const missing = CAPABILITIES.filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 0n);
  if (missing.length === 0) return { present: true };
  return { present: false, detail: `missing ${missing.map(([name]) => name).join(", ")}` };
}

function bpffs(): Answer {
  const paths = mountPoints(readMounts(), "bpf");
  const path = paths.find((each) => each === "/sys/fs/bpf") ?? paths[0];
  if (path !== undefined) return { present: true, detail: path };
  const known = (readOrEmpty("/proc/filesystems") ?? "").split("\n")
    .some((line) => line.endsWith("\tbpf"));
  return known
    ? { present: true, detail: "not mounted; the agent mounts it at /sys/fs/bpf" }
    : { present: false };
}

/** A read-only question: which programs are on lo? Kernels without TCX do not know the hook. */
function tcx(): Answer {
  try {
    queryTcx(1, AttachType.TCX_INGRESS);
    return { present: true };
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.EINVAL) return { present: false };
    throw error;
  }
}

/** Asks to end a socket that cannot exist. */
function sockDestroy(): Answer {
  try {
    destroySocket(NOBODY);
    return { present: true };
  } catch (error) {
    if (error instanceof SyscallError && error.errno === Errno.EOPNOTSUPP) {
      return { present: false };
    }
    throw error;
  }
}

/** From and to port 0 of ::, with a cookie that no socket has. */
const NOBODY: SocketInfo = {
  protocol: 6,
  state: TcpState.ESTABLISHED,
  localAddress: new Uint8Array(16),
  localPort: 0,
  remoteAddress: new Uint8Array(16),
  remotePort: 0,
  uid: 0,
  inode: 0,
  cookie: 0n,
  family: 2,
  id: new Uint8Array(48).fill(0xfe, 40),
};

function libraryVersion(text: string, minimum: readonly [number, number]): Answer {
  return { present: isAtLeast(text, minimum), detail: text };
}

function readOrEmpty(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}
