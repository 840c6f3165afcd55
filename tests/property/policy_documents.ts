/**
 * Random policy documents: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and NetworkPolicy,
 * with every field that decides about a flow. All of them are valid, for what is invalid enforces
 * nothing.
 *
 * @module
 */

import fc from "fast-check";

/** A Kubernetes object. */
export interface Document {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string | undefined;
    readonly labels?: object;
  };
}

export function document(
  apiVersion: string,
  kind: string,
  metadata: { name: string | undefined; namespace?: string | undefined; labels?: object },
  rest: object = {},
): Document {
  return { apiVersion, kind, metadata: { ...metadata, name: metadata.name ?? "" }, ...rest };
}

const name = fc.constantFrom("one", "two", "three");
const namespace = fc.constantFrom("a", "b");
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

/** Two thirds of the time the first. */
function mostly<T>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 2, arbitrary: usual }, { weight: 1, arbitrary: other });
}

const app = fc.constantFrom("web", "db", "api");

/** Selectors with keys of every source. */
const selector = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  { weight: 4, arbitrary: app.map((app) => ({ matchLabels: { app } })) },
  ...[
    { matchLabels: { "k8s:app": "web", tier: "front" } },
    { matchLabels: { "any:app": "db" } },
    { matchExpressions: [{ key: "tier", operator: "DoesNotExist" }] },
    { matchExpressions: [{ key: "app", operator: "NotIn", values: ["web"] }] },
    { matchExpressions: [{ key: "k8s:app", operator: "In", values: ["web", "db"] }] },
    { matchExpressions: [{ key: "tier", operator: "Exists" }] },
  ].map((arbitrary) => ({ weight: 1, arbitrary: fc.constant(arbitrary) })),
);

const peerSelector = fc.oneof(
  { weight: 4, arbitrary: selector },
  {
    weight: 3,
    arbitrary: fc.constantFrom<object>(
      { matchLabels: { "k8s:io.kubernetes.pod.namespace": "b" } },
      { matchLabels: { "io.kubernetes.pod.namespace": "a", app: "web" } },
      { matchLabels: { "k8s:io.cilium.k8s.namespace.labels.team": "blue" } },
      { matchLabels: { "io.cilium.k8s.policy.serviceaccount": "robot" } },
      { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "Exists" }] },
      { matchLabels: { "reserved:host": "" } },
      { matchLabels: { "reserved:world": "" } },
      { matchExpressions: [{ key: "cidr:192.0.2.0/25", operator: "Exists" }] },
    ),
  },
);

const cidrText = fc.constantFrom(
  ...["0.0.0.0/0", "192.0.2.0/24", "192.0.2.0/25", "192.0.2.1/32", "10.0.0.0/8", "::/0"],
  ...["198.51.100.0/24", "0.0.0.0/1"],
  ...["2001:db8::/32", "2001:db8::1/48", "fd00::/8", "172.16.0.0/12"],
);

const cidrSet = fc.oneof(
  cidrText.map((cidr): object => ({ cidr })),
  fc.constantFrom<object>(
    { cidr: "192.0.2.0/24", except: ["192.0.2.128/25"] },
    { cidr: "192.0.2.0/24", except: ["192.0.2.0/25"] },
    { cidr: "0.0.0.0/0", except: ["192.0.2.0/24", "10.0.0.0/8"] },
    { cidr: "2001:db8::/32", except: ["2001:db8:1::/48"] },
    { cidrGroupRef: "partners" },
    { cidrGroupRef: "nobody" },
    { cidrGroupRef: "partners", except: ["192.0.2.1/32"] },
    { cidrGroupSelector: { matchLabels: { kind: "partner" } } },
    { cidrGroupSelector: { matchLabels: { "k8s:kind": "partner" } } },
  ),
);

const entities = fc.constantFrom(
  ...["all", "world", "cluster", "host", "remote-node", "init", "health", "unmanaged", "ingress"],
  ...["kube-apiserver", "none"],
);

const services = fc.constantFrom<object>(
  { k8sService: { serviceName: "inner", namespace: "a" } },
  { k8sService: { serviceName: "outer" } },
  { k8sService: { serviceName: "missing", namespace: "a" } },
  { k8sServiceSelector: { selector: { matchLabels: { kind: "inner" } } } },
  { k8sServiceSelector: { selector: { matchLabels: { kind: "outer" } }, namespace: "b" } },
);

const names = fc.constantFrom<object>(
  { matchName: "www.example.com" },
  { matchPattern: "*.example.com" },
  { matchPattern: "*" },
);

/** One kind of peers, a list that may be empty; or none at all. */
function peers(direction: "from" | "to"): fc.Arbitrary<object> {
  const list = <T>(arbitrary: fc.Arbitrary<T>) => fc.array(arbitrary, { maxLength: 2 });
  const field = (name: string, arbitrary: fc.Arbitrary<unknown>) =>
    list(arbitrary).map((value) => ({ [`${direction}${name}`]: value }));
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant({}) },
    { weight: 6, arbitrary: field("Endpoints", peerSelector) },
    { weight: 2, arbitrary: field("Entities", entities) },
    { weight: 2, arbitrary: field("CIDR", cidrText) },
    { weight: 2, arbitrary: field("CIDRSet", cidrSet) },
    {
      weight: 1,
      arbitrary: field("Nodes", fc.constantFrom({}, { matchLabels: { zone: "east" } })),
    },
    ...(direction === "to" ? [{ weight: 1, arbitrary: field("Services", services) }] : []),
  );
}

const port = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      port: fc.constantFrom("80", "443", "53", "0", "8080"),
      protocol: fc.constantFrom("TCP", "UDP", "SCTP", "ANY", undefined),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom<object>(
      { port: "80", endPort: 90, protocol: "TCP" },
      { port: "1", endPort: 1024 },
      { port: "85", protocol: "TCP" },
      { port: "8000", endPort: 65535, protocol: "UDP" },
    ),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      port: fc.constantFrom("http", "web", "dns", "nothing"),
      protocol: fc.constantFrom("TCP", "UDP", "ANY"),
    }),
  },
);

const ports = fc.array(port, { maxLength: 3 });

/** Layer 7 parts with the ports that they are allowed on. */
function layer7(direction: "from" | "to"): fc.Arbitrary<object> {
  const http = fc.record({
    ports: fc.subarray([
      { port: "80", protocol: "TCP" },
      { port: "8080", protocol: "TCP" },
      { port: "80", endPort: 90, protocol: "TCP" },
      { port: "http", protocol: "TCP" },
    ], { minLength: 1 }),
    rules: fc.constantFrom<object>(
      { http: [{ method: "GET", path: "/public" }] },
      { http: [{ path: "/.*" }] },
      { http: [{}] },
    ),
  });
  const serverNames = fc.constant<object>({
    ports: [{ port: "443", protocol: "TCP" }],
    serverNames: ["www.example.com"],
  });
  const dns = fc.constantFrom<object>(
    {
      ports: [{ port: "53", protocol: "ANY" }],
      rules: { dns: [{ matchPattern: "*.example.com" }] },
    },
    { ports: [{ port: "80", protocol: "TCP" }], rules: { dns: [{ matchName: "db.internal" }] } },
  );
  const listener = fc.constant<object>({
    ports: [{ port: "80", protocol: "TCP" }],
    listener: { envoyConfig: { name: "envoy" }, name: "listener" },
  });
  return direction === "from"
    ? fc.oneof({ weight: 3, arbitrary: http }, { weight: 1, arbitrary: serverNames })
    : fc.oneof(
      { weight: 3, arbitrary: http },
      { weight: 2, arbitrary: dns },
      { weight: 1, arbitrary: serverNames },
      { weight: 1, arbitrary: listener },
    );
}

const icmps = fc.constantFrom<object>(
  { fields: [{ type: 8 }] },
  { fields: [{ family: "IPv4", type: "EchoReply" }, { family: "IPv6", type: 128 }] },
  { fields: [{ family: "IPv6", type: "EchoReply" }] },
);

/** Where a rule applies: ports, messages, or everywhere. */
function places(direction: "from" | "to", action: "allow" | "deny"): fc.Arbitrary<object> {
  const plain = fc.array(ports.map((ports): object => ({ ports })), { maxLength: 2 });
  const withLayer7 = fc.tuple(layer7(direction), plain).map(([one, others]) => [one, ...others]);
  return fc.oneof(
    { weight: 3, arbitrary: fc.constant({}) },
    { weight: 6, arbitrary: plain.map((toPorts) => ({ toPorts })) },
    { weight: 1, arbitrary: icmps.map((icmp) => ({ icmps: [icmp] })) },
    ...(action === "allow"
      ? [{ weight: 5, arbitrary: withLayer7.map((toPorts) => ({ toPorts })) }]
      : []),
  );
}

const authentication = fc.oneof(
  { weight: 2, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.constantFrom("required", "disabled", "test-always-fail")
      .map((mode) => ({ authentication: { mode } })),
  },
);

function rule(direction: "from" | "to", action: "allow" | "deny"): fc.Arbitrary<object> {
  const usual = fc.tuple(
    peers(direction),
    places(direction, action),
    action === "allow" ? authentication : fc.constant({}),
  ).map(([peers, places, authentication]) => ({ ...peers, ...places, ...authentication }));
  if (direction === "from" || action === "deny") return usual;
  return fc.oneof({ weight: 8, arbitrary: usual }, { weight: 1, arbitrary: byName });
}

const byName = fc.tuple(
  fc.array(names, { maxLength: 2 }),
  places("to", "allow"),
  authentication,
).map(([toFQDNs, places, authentication]): object => ({ toFQDNs, ...places, ...authentication }));

/** Lets every name be asked for: without such a rule no rule for names speaks of any flow. */
const askForNames = {
  toPorts: [{
    ports: [{ port: "53", protocol: "ANY" }],
    rules: { dns: [{ matchPattern: "*" }] },
  }],
};

function sections(isHost: boolean): fc.Arbitrary<object> {
  const list = (direction: "from" | "to", action: "allow" | "deny") => {
    const rules = isHost
      ? rule(direction, action).filter((rule) => !/"rules"|"listener"/.test(JSON.stringify(rule)))
      : rule(direction, action);
    const usual = fc.array(rules, { minLength: 1, maxLength: 3 });
    const withNames = fc.tuple(usual, byName).map(([some, one]) => [...some, askForNames, one]);
    const hasNames = direction === "to" && action === "allow" && !isHost;
    const some = hasNames
      ? fc.oneof({ weight: 3, arbitrary: usual }, { weight: 1, arbitrary: withNames })
      : usual;
    const none = fc.constant(undefined);
    return action === "allow" ? mostly<object[] | undefined>(some, none) : mostly(none, some);
  };
  return fc.record({
    ingress: list("from", "allow"),
    ingressDeny: list("from", "deny"),
    egress: list("to", "allow"),
    egressDeny: list("to", "deny"),
    enableDefaultDeny: mostly<object | undefined>(
      fc.constant(undefined),
      fc.record({ ingress: optional(fc.boolean()), egress: optional(fc.boolean()) }),
    ),
  }).filter(({ ingress, ingressDeny, egress, egressDeny }) =>
    Boolean(ingress ?? ingressDeny ?? egress ?? egressDeny)
  );
}

function spec(kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy") {
  const ofPods = fc.tuple(selector, sections(false))
    .map(([endpointSelector, sections]): object => ({ endpointSelector, ...sections }));
  if (kind === "CiliumNetworkPolicy") return ofPods;
  const ofHosts = fc.tuple(
    fc.constantFrom<object>(
      {},
      { matchLabels: { zone: "east" } },
      { matchExpressions: [{ key: "reserved:host", operator: "Exists" }] },
    ),
    sections(true),
  ).map(([nodeSelector, sections]): object => ({ nodeSelector, ...sections }));
  return mostly(ofPods, ofHosts);
}

/** `spec`, or several `specs`. */
function specs(kind: "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy") {
  return fc.oneof(
    { weight: 5, arbitrary: spec(kind).map((spec): object => ({ spec })) },
    {
      weight: 1,
      arbitrary: fc.array(spec(kind), { minLength: 1, maxLength: 3 }).map((specs) => ({ specs })),
    },
  );
}

const cilium = fc.oneof(
  fc.tuple(namespace, name, specs("CiliumNetworkPolicy")).map(([namespace, name, rest]) =>
    document("cilium.io/v2", "CiliumNetworkPolicy", { namespace, name }, rest)
  ),
  fc.tuple(name, specs("CiliumClusterwideNetworkPolicy")).map(([name, rest]) =>
    document("cilium.io/v2", "CiliumClusterwideNetworkPolicy", { name }, rest)
  ),
);

const plainSelector = fc.constantFrom<object>(
  {},
  { matchLabels: { app: "web" } },
  { matchExpressions: [{ key: "app", operator: "NotIn", values: ["db"] }] },
);

const kubernetesPeer = fc.oneof(
  plainSelector.map((podSelector): object => ({ podSelector })),
  fc.constantFrom<object>({}, { matchLabels: { team: "blue" } })
    .map((namespaceSelector): object => ({ namespaceSelector })),
  fc.constantFrom<object>(
    { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "b" } }, podSelector: {} },
    { ipBlock: { cidr: "10.1.0.0/16", except: ["10.1.3.0/24"] } },
    { ipBlock: { cidr: "0.0.0.0/0" } },
    { ipBlock: { cidr: "172.16.0.1/32" } },
    { ipBlock: { cidr: "fd00::/8" } },
  ),
);

const kubernetesPorts = fc.array(
  fc.constantFrom<object>(
    { port: 80 },
    { port: 80, endPort: 90, protocol: "TCP" },
    { port: "http" },
    { port: "dns", protocol: "UDP" },
    { protocol: "SCTP" },
    { port: 53, protocol: "UDP" },
  ),
  { maxLength: 2 },
);

function kubernetesRule(field: "from" | "to"): fc.Arbitrary<object> {
  return fc.record({
    [field]: optional(fc.array(kubernetesPeer, { maxLength: 2 })),
    ports: optional(kubernetesPorts),
  });
}

const kubernetes = fc.tuple(
  namespace,
  name,
  fc.record({
    podSelector: plainSelector,
    policyTypes: fc.constantFrom(undefined, ["Ingress"], ["Egress"], ["Ingress", "Egress"]),
    ingress: optional(fc.array(kubernetesRule("from"), { maxLength: 2 })),
    egress: optional(fc.array(kubernetesRule("to"), { maxLength: 2 })),
  }),
).map(([namespace, name, spec]) =>
  document("networking.k8s.io/v1", "NetworkPolicy", { namespace, name }, { spec })
);

/** A policy of any kind. */
export const policyDocument: fc.Arbitrary<Document> = fc.oneof(
  { weight: 3, arbitrary: cilium },
  { weight: 1, arbitrary: kubernetes },
);
