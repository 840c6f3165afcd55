/**
 * One way through weft: from one address to another, stage by stage. In come the ends and each
 * node's view, out go the stages with their outcome. Invariant: the verdict of a stage is that of
 * `decide`; the words around it are the only thing made here.
 *
 * @module
 */
import {
  decide,
  type Destination,
  destinationOf,
  type SourceClass,
  sourceOf,
  sourceOfWorkload,
} from "../../compile/mod.ts";
import type { Cause, State, Workload } from "../../model/mod.ts";
import type { Reason } from "../../reasons.ts";
import type { Party } from "./query.ts";

/** What is asked of one way. */
export interface PathQuestion {
  readonly source: Party;
  /** undefined for "outside" */
  readonly sourceAddress: string | undefined;
  readonly target: {
    readonly address: string;
    readonly port: number;
    /** "namespace/name" of the Service that was dialled, and its port */
    readonly service?: string;
    readonly dialled?: number;
  };
  readonly protocol: "TCP" | "UDP" | "ICMP";
  /** node of the client; the asking one where the client has none */
  readonly client: string;
  /** node of the agent that answers */
  readonly asking: string;
  /** the State as each node's agent derives it */
  readonly views: (node: string) => State;
}

/** What happens on one way. */
export interface Path {
  readonly answer: "allowed" | "refused";
  readonly reason: Reason;
  readonly target: { readonly address: string; readonly port: number; readonly pod?: string };
  /** the mode of the target's port, and who says so */
  readonly mode: Cause & { readonly mode: string };
  /** how the bytes travel, when they do */
  readonly transport?: "mutual TLS" | "plaintext" | "plaintext, attested";
  /** what the answer takes for granted */
  readonly condition?: string;
  readonly stages: readonly StageReport[];
  /** other targets that end alike */
  readonly also: readonly { address: string; port: number; pod?: string }[];
}

/** One stage. */
export interface StageReport {
  readonly stage: "service" | "connect" | "guard" | "relay";
  /** on which node */
  readonly node?: string;
  readonly outcome: "passes" | "refuses" | "relays" | "waits" | "absent";
  readonly sentence: string;
}

/** Walks one way. */
export function walkPath(question: PathQuestion): Path {
  const walk = new Walk(question);
  return question.protocol === "TCP" ? walk.tcp() : walk.other();
}

/** How long a client's relay waits for a peer that is not ready (DESIGN §3). */
const PATIENCE = "up to 10 s";

class Walk {
  readonly #question: PathQuestion;
  readonly #stages: StageReport[] = [];
  /** as the client's node sees it */
  readonly #near: Destination;
  readonly #client: Workload | undefined;
  readonly #server: Workload | undefined;
  /** the client's agent intercepts */
  readonly #clientManaged: boolean;

  constructor(question: PathQuestion) {
    const { source, target, client, views } = question;
    const view = views(client);
    this.#question = question;
    this.#near = destinationOf(view, target.address, target.port);
    this.#client = source.kind === "pod" ? source.workload : undefined;
    const owner = view.owners.get(target.address);
    this.#server = owner?.kind === "pod" ? owner.workload : undefined;
    this.#clientManaged = this.#isManaged(client);
  }

  tcp(): Path {
    this.#translate();
    if (this.#client !== undefined && this.#client.key === this.#server?.key) {
      this.#say("connect", "passes", "the pod's own address is never touched", this.#client.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    const outbound = this.#connect();
    if (outbound?.verdict === "refuse") return this.#end("refused", outbound.reason);
    if (outbound?.verdict === "relay") {
      const missing = this.#peerMissing();
      if (missing !== undefined) return this.#end("refused", "peer-not-ready", {}, missing);
    }
    return this.#inbound(outbound?.verdict === "relay");
  }

  /** UDP and ICMP: mutual TLS cannot carry them. */
  other(): Path {
    this.#translate();
    const { protocol, target } = this.#question;
    const server = this.#server;
    const { mode } = destinationOf(this.#question.views(this.#question.client), target.address, 0);
    if (server === undefined || !this.#isManaged(server.node)) {
      if (server) this.#noGuard(server.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    if (mode !== "strict" && mode !== "unknown") {
      this.#say("guard", "passes", `${protocol} is not authenticated here`, server.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    if (this.#isOwnNode(server)) {
      this.#say("guard", "passes", "it comes from the pod's own node", server.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    const sentence = `the pod is STRICT and ${protocol} cannot be authenticated; only answers to` +
      " what the pod itself has asked pass";
    this.#say("guard", "refuses", sentence, server.node);
    return this.#end("refused", "not-authenticated");
  }

  #translate(): void {
    const { target, client } = this.#question;
    if (target.service === undefined) return;
    const ends = `${target.address}:${target.port}`;
    const sentence = `port ${target.dialled} becomes ${ends}, one of the ready ones at random`;
    this.#say("service", this.#clientManaged ? "passes" : "absent", sentence, client);
  }

  /** The client's connect(), where an agent sees it. */
  #connect(): ReturnType<typeof decide> | undefined {
    const { source, client } = this.#question;
    if (source.kind === "outside" || source.kind === "address") return undefined;
    if (source.kind === "node" || this.#client === undefined || this.#client.hostNetwork) {
      this.#say("connect", "passes", "processes of the node itself are not intercepted", client);
      return undefined;
    }
    if (!this.#clientManaged) {
      const sentence = `node ${client} has announced no agent: nothing is intercepted there, the` +
        " client speaks plaintext";
      this.#say("connect", "absent", sentence, client);
      return undefined;
    }
    const decision = decide({
      stage: "outbound",
      source: sourceOfWorkload(this.#client),
      mode: this.#near.mode,
      where: this.#near.where,
    });
    const outcome = decision.verdict === "direct" ? "passes" : OUTCOMES[decision.verdict];
    this.#say("connect", outcome, connectSentence(this.#client, this.#near, decision), client);
    return decision;
  }

  /** Why the client's relay finds nobody to speak to, or undefined. */
  #peerMissing(): string | undefined {
    if (this.#near.mode === "unknown") {
      return `the client's relay waits ${PATIENCE} for a pod with that address, then refuses`;
    }
    if (this.#near.mode === "strict" && this.#near.where === "unready") {
      return `the client's relay waits ${PATIENCE} for node ${this.#server?.node ?? "?"} to` +
        " announce its agent, then refuses: plaintext would be a leak";
    }
    return undefined;
  }

  #inbound(steered: boolean): Path {
    const server = this.#server;
    if (server === undefined || server.hostNetwork) {
      if (this.#near.mode === "unknown") {
        const sentence = "no pod is known there: if one is, its own node refuses who is unknown";
        this.#say("guard", "refuses", sentence);
        return this.#end("refused", "unknown-identity");
      }
      return this.#disputed() ?? this.#end("allowed", "none", { transport: "plaintext" });
    }
    if (!this.#isManaged(server.node)) {
      this.#noGuard(server.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    if (this.#isOwnNode(server)) {
      const sentence = "it comes from the pod's own node (as the kubelet's probes do): to the" +
        " application as it is";
      this.#say("guard", "passes", sentence, server.node);
      return this.#end("allowed", "none", { transport: "plaintext" });
    }
    const { source, there, decision } = this.#judgeAt(server);
    const attested = there.where === "attest" && there.mode === "strict";
    this.#say(
      "guard",
      OUTCOMES[decision.verdict],
      guardSentence(source, there, decision),
      server.node,
    );
    if (decision.verdict === "refuse" || decision.verdict === "wait") {
      return this.#end("refused", decision.reason);
    }
    if (decision.verdict === "direct") {
      return this.#end("allowed", "none", {
        transport: attested ? "plaintext, attested" : "plaintext",
      });
    }
    return there.mode === "strict"
      ? this.#authenticate(server, steered)
      : this.#permissive(steered);
  }

  #judgeAt(server: Workload) {
    const { target, views, sourceAddress } = this.#question;
    const view = views(server.node);
    const source = sourceAddress === undefined ? "outside" : sourceOf(view, sourceAddress);
    const there = destinationOf(view, target.address, target.port);
    // Attestation is the client guard's of the same node; for others the guard encrypts.
    const where = there.where === "attest" && this.#client?.node !== server.node
      ? "encrypt"
      : there.where;
    const decision = decide({ stage: "inbound", source, mode: there.mode, where });
    return { source, there: { ...there, where }, decision };
  }

  /** The server's relay demands a certificate. */
  #authenticate(server: Workload, steered: boolean): Path {
    const client = this.#client;
    if (steered && client !== undefined) {
      const sentence = `mutual TLS: the client must show ${client.spiffeId} issued on node` +
        ` ${client.node}, and expects ${server.spiffeId} issued on node ${server.node}`;
      this.#say("relay", "passes", sentence, server.node);
      return this.#end("allowed", "none", { transport: "mutual TLS" });
    }
    if (client?.ownCertificate) {
      const sentence = `TLS with a certificate for ${client.spiffeId} issued on node` +
        ` ${client.node} is accepted; anything else is refused`;
      this.#say("relay", "passes", sentence, server.node);
      return this.#end("allowed", "none", {
        transport: "mutual TLS",
        condition: `it speaks TLS with the certificate of \`weft cert issue --pod ${client.key}\``,
      });
    }
    const sentence =
      "only TLS with a client certificate of this trust domain is accepted: what is" +
      " not is reset, marked and dropped from then on";
    this.#say("relay", "refuses", sentence, server.node);
    return this.#end("refused", "not-tls");
  }

  /** The server's relay looks at what comes. */
  #permissive(steered: boolean): Path {
    const sentence = steered
      ? "mutual TLS from the client's relay is authenticated"
      : "PERMISSIVE: it looks like plaintext or foreign TLS and passes as it is";
    this.#say("relay", "passes", sentence, this.#server?.node);
    return this.#end("allowed", "none", { transport: steered ? "mutual TLS" : "plaintext" });
  }

  /** An address that is nobody's is nobody's to connect to, if a claimant protects it. */
  #disputed(): Path | undefined {
    const { target, client, views } = this.#question;
    if (views(client).owners.get(target.address)?.kind !== "conflict") return undefined;
    if (this.#near.mode === "none") return undefined;
    this.#say("guard", "refuses", "the address is claimed by several: it is nobody's");
    return this.#end("refused", "address-conflict");
  }

  #noGuard(node: string): void {
    const sentence = `node ${node} has announced no agent: NOTHING is enforced there`;
    this.#say("guard", "absent", sentence, node);
  }

  /** The client is the server's own node, or on its host network. */
  #isOwnNode(server: Workload): boolean {
    const { source } = this.#question;
    if (source.kind === "node") return source.node === server.node;
    return this.#client?.hostNetwork === true && this.#client.node === server.node;
  }

  /** Whether an agent has its datapath in place on the node. The asking one's has. */
  #isManaged(node: string): boolean {
    const { asking, client, views } = this.#question;
    return node === asking || views(client).nodes.get(node)?.announced === true;
  }

  #say(
    stage: StageReport["stage"],
    outcome: StageReport["outcome"],
    sentence: string,
    node?: string,
  ): void {
    this.#stages.push({ stage, outcome, sentence, ...(node !== undefined && { node }) });
  }

  #end(
    answer: Path["answer"],
    reason: Reason,
    more: Pick<Path, "transport" | "condition"> = {},
    relaySentence?: string,
  ): Path {
    const { address, port } = this.#question.target;
    if (relaySentence !== undefined) {
      this.#say("relay", "refuses", relaySentence, this.#question.client);
    }
    const { mode, cause } = this.#near;
    return {
      answer,
      reason,
      target: { address, port, ...(this.#server && { pod: this.#server.key }) },
      mode: { ...cause, mode: MODE_WORDS[mode] },
      ...more,
      stages: this.#stages,
      also: [],
    };
  }
}

const OUTCOMES = {
  refuse: "refuses",
  direct: "passes",
  relay: "relays",
  wait: "waits",
} as const satisfies Record<string, StageReport["outcome"]>;

const MODE_WORDS = {
  unknown: "unknown",
  none: "not in the mesh",
  permissive: "PERMISSIVE",
  strict: "STRICT",
} as const;

function connectSentence(
  client: Workload,
  near: Destination,
  decision: ReturnType<typeof decide>,
): string {
  if (decision.verdict === "refuse") {
    return "ECONNREFUSED at once, before any packet is sent";
  }
  if (decision.verdict === "relay") {
    return `goes to the relay of node ${client.node}, which opens mutual TLS`;
  }
  if (client.ownCertificate) return "goes out as it is: the pod speaks TLS itself";
  if (near.where === "attest" && near.mode !== "none") {
    return "goes out as it is, attested by this node as the pod's own";
  }
  if (near.mode === "none") return "goes out as it is: the target asks for nothing";
  return "goes out as it is";
}

function guardSentence(
  source: SourceClass,
  there: Destination,
  decision: ReturnType<typeof decide>,
): string {
  switch (decision.verdict) {
    case "refuse":
      return `${SOURCE_WORDS[source]} may not reach it: the SYN is answered with a reset`;
    case "wait":
      return `no pod is known at the source address: silence for ${PATIENCE}, then a reset`;
    case "direct":
      if (there.where === "attest" && there.mode === "strict") {
        return "both pods are attested by their node: as it is, without TLS";
      }
      return there.mode === "none" ? "the port asks for nothing" : "plaintext is welcome here";
    case "relay":
      return "the SYN is steered to the relay: no byte passes it unread";
  }
}

const SOURCE_WORDS: Readonly<Record<SourceClass, string>> = {
  unknown: "an unknown pod",
  outside: "a host outside the mesh",
  node: "another node",
  plain: "a pod without an identity in the mesh",
  own_cert: "a pod with its own certificate",
  mesh: "a pod of the mesh",
  conflict: "an address that several pods claim",
};
