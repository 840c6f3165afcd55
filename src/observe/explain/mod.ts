/**
 * Why a connection is allowed or refused. In come a State and a question, out goes every stage
 * that the connection passes, who decides there, where that is written, and what would change it.
 * Pure. Invariant: nothing is decided here: classes come from `classify`, verdicts from `decide`,
 * the same that the kernel's rows and the relay are made from; a stage is seen from the node on
 * which it happens, so the State is derived anew for that node.
 *
 * @module
 */
import { applyChanges, type Cause, emptyState, familyOf, type State } from "../../model/mod.ts";
import { UsageError } from "../../errors.ts";
import { describeReason, type Reason } from "../../reasons.ts";
import { type Fix, fixesFor, serviceFixes } from "./fixes.ts";
import { type Path, type PathQuestion, walkPath } from "./path.ts";
import { type ExplainQuery, findSource, findTarget, type Party } from "./query.ts";

/** The answer. */
export interface Explanation {
  readonly query: ExplainQuery;
  /** `mixed`: it depends on the backend or address that is chosen */
  readonly answer: "allowed" | "refused" | "mixed";
  /** of the first refusal, else "none" */
  readonly reason: Reason;
  readonly happened: string;
  readonly from: PartyReport;
  readonly to: PartyReport;
  /** ways that end alike are told once */
  readonly paths: readonly Path[];
  /** each would make it work on its own */
  readonly fixes: readonly Fix[];
  readonly notes: readonly string[];
}

/** Who an end is. */
export interface PartyReport {
  readonly kind: Party["kind"];
  /** as people say it: `pod default/frontend` */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly node?: string;
  readonly spiffeId?: string;
  /** its part in the mesh, and why */
  readonly standing?: Cause & { readonly inMesh: boolean };
}

export interface ExplainOptions {
  /** from files alone there are no announcements: take every node to run an agent */
  readonly assumeAgents?: boolean;
}

/** More ways than this are not walked. */
const WAYS_MAX = 256;

/** Explains one connection. */
export function explain(
  live: State,
  query: ExplainQuery,
  options: ExplainOptions = {},
): Explanation {
  const source = findSource(live, query.from);
  const target = findTarget(live, query.to);
  const client = nodeOf(source.party) ?? live.config.node;
  const views = viewsOf(live, options);
  const state = views(client);
  const ways = waysBetween(state, source.party, target.party, query);
  const paths = alike(
    ways.map((way) => walkPath({ ...way, views, client, asking: live.config.node })),
  );
  const refused = paths.find((path) => path.answer === "refused");
  const reason = refused?.reason ?? (paths.length === 0 ? emptyReason(target.party) : "none");
  const answer = paths.length === 0 || paths.every((path) => path.answer === "refused")
    ? "refused"
    : refused
    ? "mixed"
    : "allowed";
  const fixes = refused
    ? fixesFor(state, source.party, refused, query)
    : paths.length === 0
    ? serviceFixes(state, target.party, query)
    : [];
  return {
    query,
    answer,
    reason,
    happened: describeReason(reason).happened,
    from: describeParty(source.party),
    to: describeParty(target.party),
    paths,
    fixes,
    notes: [
      ...source.notes,
      ...target.notes,
      ...(options.assumeAgents ? ["judged from files alone: every node is taken to run weft"] : []),
      ...(live.source.failure === undefined
        ? []
        : [`the source cannot be read (${live.source.failure}); this is what stays in force`]),
    ],
  };
}

/** The State as each node's own agent derives it. */
function viewsOf(live: State, options: ExplainOptions): (node: string) => State {
  const views = new Map<string, State>();
  if (!options.assumeAgents) views.set(live.config.node, live);
  return (node) => {
    let view = views.get(node);
    if (view === undefined) views.set(node, view = seenFrom(live, node, options));
    return view;
  };
}

function seenFrom(live: State, node: string, options: ExplainOptions): State {
  const puts = Object.values(live.objects).flatMap((table) =>
    [...table.values()].map(({ object, origin }) => ({ type: "put" as const, object, origin }))
  );
  const names = options.assumeAgents ? nodeNames(live) : [];
  const announcements = names.map((name) => ({
    type: "put" as const,
    object: {
      kind: "WeftNode" as const,
      namespace: "",
      name,
      uid: "",
      labels: new Map<string, string>(),
      node: name,
      nodeUid: "",
      issuerFingerprint: "",
      datapathVersion: "",
      ready: true,
    },
    origin: {},
  }));
  const view = applyChanges(emptyState({ ...live.config, node }), [...puts, ...announcements]);
  return { ...view, rejections: live.rejections, source: live.source };
}

function nodeNames(state: State): string[] {
  const names = new Set(state.nodes.keys());
  for (const { node } of state.workloads.values()) if (node !== "") names.add(node);
  return [...names].sort();
}

/** Every pair of addresses that the question can mean. */
function waysBetween(
  state: State,
  source: Party,
  target: Party,
  query: ExplainQuery,
): Omit<PathQuestion, "views" | "client" | "asking">[] {
  const { protocol } = query;
  const ends = endsOf(state, target, query);
  const ways = ends.flatMap((end) => {
    const sources = addressesOf(state, source)
      .filter((address) => familyOf(address) === familyOf(end.address));
    const [address] = sources;
    if (address === undefined && source.kind !== "outside") return [];
    return [{ source, sourceAddress: address, target: end, protocol }];
  });
  if (ways.length === 0 && ends.length > 0) {
    throw new UsageError(`"${query.from}" and "${query.to}" have no address of the same family`);
  }
  return ways.slice(0, WAYS_MAX);
}

function endsOf(state: State, target: Party, query: ExplainQuery): PathQuestion["target"][] {
  if (target.kind !== "service") {
    return addressesOf(state, target).map((address) => ({ address, port: query.port }));
  }
  const { service } = target;
  const port = service.ports.find((each) =>
    each.port === query.port && each.proto === query.protocol
  );
  const families = new Set(service.clusterIps.map(familyOf));
  return (port?.endpoints ?? [])
    .filter((endpoint) => families.size === 0 || families.has(familyOf(endpoint.address)))
    .map((endpoint) => ({ ...endpoint, service: service.key, dialled: query.port }));
}

function addressesOf(state: State, party: Party): readonly string[] {
  switch (party.kind) {
    case "pod":
      return party.address === undefined ? party.workload.addresses : [party.address];
    case "node":
      return state.nodes.get(party.node)?.addresses ?? [];
    case "address":
      return [party.address];
    case "service":
      return party.service.clusterIps;
    case "outside":
      return [];
  }
}

/** Ways that end alike become one, with the addresses of the others. */
function alike(paths: readonly Path[]): Path[] {
  const groups = new Map<string, Path>();
  for (const path of paths) {
    const key = JSON.stringify([
      path.answer,
      path.reason,
      path.mode.sentence,
      path.stages.map(({ stage, node, outcome }) => [stage, node, outcome]),
    ]);
    const first = groups.get(key);
    if (first === undefined) groups.set(key, path);
    else groups.set(key, { ...first, also: [...first.also, path.target, ...path.also] });
  }
  return [...groups.values()];
}

/** A target to which no way leads. */
function emptyReason(target: Party): Reason {
  return target.kind === "service" ? "no-backend" : "unknown-identity";
}

function nodeOf(party: Party): string | undefined {
  if (party.kind === "pod") return party.workload.node || undefined;
  return party.kind === "node" ? party.node : undefined;
}

function describeParty(party: Party): PartyReport {
  switch (party.kind) {
    case "pod": {
      const { key, addresses, node, spiffeId, enrolled, enrolledBy, certified } = party.workload;
      return {
        kind: "pod",
        name: `pod ${key}`,
        addresses,
        ...(node !== "" && { node }),
        ...(certified && { spiffeId }),
        standing: { ...enrolledBy, inMesh: enrolled },
      };
    }
    case "service":
      return {
        kind: "service",
        name: `Service ${party.service.key}`,
        addresses: party.service.clusterIps,
      };
    case "node":
      return { kind: "node", name: `node ${party.node}`, addresses: [], node: party.node };
    case "address":
      return { kind: "address", name: party.address, addresses: [party.address] };
    case "outside":
      return { kind: "outside", name: "a host outside the mesh", addresses: [] };
  }
}
