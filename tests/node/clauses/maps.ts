/**
 * Maps, pins and events: what happens when the kernel's tables are full, flooded, older than the
 * agent or somebody else's.
 *
 * @module
 */
import { type Clause, testsOf } from "./clause.ts";

const full = testsOf("tests/kernel/datapath_maps_test.ts");
const budget = testsOf("tests/kernel/datapath_budget_test.ts");
const rows = testsOf("tests/kernel/datapath_rows_test.ts");
const pins = testsOf("tests/kernel/datapath_pins_test.ts");
const events = testsOf("tests/kernel/datapath_events_test.ts");
const report = testsOf("tests/unit/observe/shortage_test.ts");
const cli = testsOf("tests/unit/cli/program_test.ts");

const OLD = "pins of another layout";
const FOREIGN = "what somebody else has pinned under a name of weft";

/** What holds when tables, pins or the ring are not as they should be. */
export const maps: readonly Clause[] = [
  {
    promise: "Where not all port overrides of an address fit, the address is STRICT",
    test: full(
      "a full map of port overrides",
      "makes the addresses STRICT whose overrides do not all fit, until they do",
    ),
    mutation: {
      file: "src/load/rows.ts",
      find: 'return { ...entry, mode: "strict", flags',
      put: "return { ...entry, flags",
    },
  },
  {
    promise: "Where not all addresses fit, an enrolled pod reaches no unknown one in plaintext",
    test: full(
      "a full map of addresses",
      "sends an enrolled pod to nobody that it does not know, and keeps this node's own",
    ),
    mutation: {
      file: "bpf/decide.h",
      find: "return !conf || (conf->flags & WEFT_CONFIG_PARTIAL) || in_pod_cidr(addr);",
      put: "return !conf || in_pod_cidr(addr);",
    },
  },
  {
    promise: "Where not all pod networks fit, an enrolled pod reaches no unknown address directly",
    test: full(
      "a full map of pod networks",
      "sends an enrolled pod to nobody that it does not know",
    ),
    mutation: {
      file: "src/load/plan_tables.ts",
      find: "return (addresses + cidrs > 0 ?",
      put: "return (addresses > 0 ?",
    },
  },
  {
    promise: "Where not all Services fit, an enrolled pod reaches no address that may be one",
    test: full(
      "a full map of Services",
      "keeps an enrolled pod from addresses that may be a Service's",
    ),
    mutation: {
      file: "bpf/connect.h",
      find:
        "	if (!row && pod->source == WEFT_SOURCE_MESH && (conf->flags & WEFT_CONFIG_NO_SERVICE))",
      put: "	if (0)",
    },
  },
  {
    promise: "A Service whose backends do not fit is refused and counted",
    test: full(
      "a full map of Services",
      "refuses a Service whose backends do not fit, and no other",
    ),
    mutation: {
      file: "bpf/service.h",
      find: "return service->id ? NO_BACKEND : NO_ROOM;",
      put: "return NO_BACKEND;",
    },
  },
  {
    promise: "A pod without room for its rows is guarded, and nothing of it passes",
    test: full(
      "a full map of pods",
      "lets nothing of the pods pass that have no room, until they have",
    ),
    mutation: {
      file: "src/load/pod_set.ts",
      find: "return [...this.#attached.values(), ...this.#surplus.values()];",
      put: "return [...this.#attached.values()];",
    },
  },
  {
    promise: "`weft status` names a map of the plan that is full, and what that means for whom",
    test: report(
      "a full map",
      "of the plan is named in the status, with what it means for whom",
    ),
    mutation: {
      file: "src/observe/report.ts",
      find: "for (const { map, entriesMax, sentence } of datapath.shortages) {",
      put: "for (const { map, entriesMax, sentence } of datapath.shortages.slice(0, 0)) {",
    },
  },
  {
    promise: "`weft status` names the table of connections when it is full",
    test: report(
      "a full map",
      "of connections is named in the status once it has no room left",
    ),
    mutation: {
      file: "src/observe/report.ts",
      find: "if (LEARNED.has(name) && entries >= entriesMax) {",
      put: "if (LEARNED.has(name) && entries > entriesMax) {",
    },
  },
  {
    promise: "A pod that opens too many connections is refused, and other pods are served",
    test: budget(
      "a pod that opens as many connections as it may",
      "is refused more, at once, while another pod is served; and gets their place back",
    ),
    mutation: {
      file: "bpf/connect.h",
      find: "	if (taken && !has_room_for(taken->established, conf->opened_max))",
      put: "	if (0)",
    },
  },
  {
    promise: "The pod that opens a connection pays for it at both ends, not the pod that it opens",
    test: budget(
      "a pod that opens as many connections as it may",
      "pays for both ends of a connection to a pod of its node, and that pod for none",
    ),
    mutation: {
      file: "bpf/to_pod.h",
      find: "	if (source && (source->flags & WEFT_ADDRESS_LOCAL) && opened_by_pod(key)) {",
      put: "	if (0 && source) {",
    },
  },
  {
    promise: "Hosts outside that open too many connections leave room for the node's own pods",
    test: budget(
      "hosts outside that open as many connections as they may",
      "are refused more, by network and then by pod, while the pods of the node are served",
    ),
    mutation: {
      file: "bpf/to_pod.h",
      find: "	*has_room = received && has_room_for(received->established, conf->accepted_max) &&",
      put: "	*has_room = received &&",
    },
  },
  {
    promise: "A pod that floods SYNs is held to its budget, and other pods' connections begin",
    test: budget(
      "a flood of SYNs",
      "of one pod is dropped beyond its budget, and another pod's connections begin",
    ),
    mutation: {
      file: "bpf/from_pod.h",
      find: "	budget = begin(&fresh.payer, conf->half_open_max);",
      put: "	budget = begin(&fresh.payer, 0xffffffff);",
    },
  },
  {
    promise: "A flood of SYNs from many networks to one pod leaves the other pods reachable",
    test: budget(
      "a flood of SYNs",
      "of many networks to one pod is dropped beyond that pod's budget, and others are reached",
    ),
    mutation: {
      file: "bpf/to_pod.h",
      find: "	received = begin(&pod, conf->flood_max);",
      put: "	received = begin(&pod, 0xffffffff);",
    },
  },
  {
    promise: "Whoever forges an address cannot complete a connection in the table",
    test: budget(
      "a flood of SYNs",
      "followed by blind acknowledgements takes no row of complete connections",
    ),
    mutation: {
      file: "bpf/to_pod.h",
      find: "	       p->ack - row->ack < ACK_WINDOW;",
      put: "	       1;",
    },
  },
  {
    promise: "A pod that sends datagrams to ever new peers does not push out what others await",
    test: budget(
      "a pod that sends datagrams to ever new peers",
      "is held to its budget when it is STRICT, and takes no rows when it is not",
    ),
    mutation: {
      file: "bpf/conntrack.h",
      find: "	if (!begin(&payer, conf->half_open_max))",
      put: "	if (0)",
    },
  },
  {
    promise: "A connection that ends without a word gives its place back",
    test: rows(
      "a connection that ended without a word",
      "is swept with its row, and its place is given back",
    ),
    mutation: {
      file: "bpf/conntrack.h",
      find: "		give_back_for(&last, cookie);",
      put: "		give_back_for(&last, 0), give_back(&last.payer);",
    },
  },
  {
    promise: "Every event that the ring has no place for is counted, under its reason",
    test: events(
      "a ring of events that nobody reads",
      "loses what finds no place in it, and counts every loss under its reason",
    ),
    mutation: {
      file: "bpf/events.h",
      find: "	count(WEFT_COUNTER_LOST + reason);",
      put: "",
    },
  },
  {
    promise: "Pins of an older layout are replaced, and at no moment is a STRICT pod open",
    test: pins(OLD, "enforce until they are replaced, and at no moment is a STRICT pod open"),
    mutation: {
      file: "src/load/pins.ts",
      find: "return !value || U64.decode(value) !== LAYOUT_FINGERPRINT;",
      put: "return !value;",
    },
  },
  {
    promise: "Connections that the mode allows survive the replacement of older pins",
    test: pins(OLD, "are replaced under live connections that the mode allows"),
    mutation: {
      file: "src/load/pod_set.ts",
      find: "this.#seedsAll = hooks.pins.isReplacing;",
      put: "this.#seedsAll = false;",
    },
  },
  {
    promise: "An agent that died while it replaced older pins leaves that to the next",
    test: pins(OLD, "are replaced although an agent died at any step of replacing them"),
    mutation: {
      file: "src/load/pins.ts",
      find: "    removeTree(`${this.root}/maps-old`);",
      put: "",
    },
  },
  {
    promise: "A program under the name of a map is named and left alone, and nothing opens",
    test: pins(FOREIGN, "is named and left alone: a program at maps/addresses"),
    mutation: {
      file: "ffi/bpf/pin.ts",
      find: "if (FILES[wanted].includes(file)) return fd;",
      put: "return fd;",
    },
  },
  {
    promise: "A map under the name of a link is named and left alone, and nothing opens",
    test: pins(FOREIGN, "is named and left alone: a map at links/weft_connect4"),
    mutation: {
      file: "src/load/pins.ts",
      find: "checkPin(path, () => BpfLink.openPinned(path)?.[Symbol.dispose]());",
      put: "void path;",
    },
  },
  {
    promise: "A map of another shape under a name of weft is replaced",
    test: pins(FOREIGN, "is replaced where it is a map of another shape"),
    mutation: {
      file: "src/load/programs.ts",
      find: "if (!(error instanceof MapMismatchError)) throw explained(error);",
      put: "throw explained(error);",
    },
  },
  {
    promise: "A link on another hook under a name of weft is replaced",
    test: pins(FOREIGN, "is replaced where it is a link on another hook"),
    mutation: {
      file: "src/load/links.ts",
      find: 'return info.kind === "cgroup" && info.attachType === attachType && info.cgroupId',
      put: 'return info.kind === "cgroup" && info.cgroupId',
    },
  },
  {
    promise: "Uninstalling removes pins of every layout, also half replaced ones",
    test: pins(OLD, "go with everything else when weft is removed"),
    mutation: {
      file: "src/load/pins.ts",
      find: "removeIfOurs(this.root);",
      put: "",
    },
  },
  {
    promise: "Purging removes what the agent kept in its state directory, and nothing else",
    test: cli("without an agent", "uninstall --purge removes keys, but nothing that is not weft's"),
    mutation: {
      file: "src/cli/uninstall.ts",
      find: 'removeAll(places.stateDirectory, ["last-good-policies.json",',
      put: "removeAll(places.stateDirectory, [",
    },
  },
];
