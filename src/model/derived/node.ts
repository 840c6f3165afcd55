/**
 * Nodes: a Node object joined with what its agent announces. In: Node and WeftNode objects. Out:
 * per name the addresses, pod CIDRs and whether the datapath there can take mesh connections.
 *
 * Invariant: a node counts as announced only by a WeftNode of exactly its name (in Kubernetes only
 * the agent of that node may write that one) that says ready and, where both give a UID, names the
 * Node of today: the announcement of a machine that was replaced says nothing about its successor.
 *
 * @module
 */

import type { Cidr } from "../address.ts";
import type { NodeObject, WeftNodeObject } from "../object.ts";

export interface NodeModel {
  readonly name: string;
  /** Of the Node object; empty where there is none. */
  readonly uid: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly Cidr[];
  /** Its agent has its datapath in place. */
  readonly announced: boolean;
  /** Of the node issuer, as announced. */
  readonly issuerFingerprint?: string;
  readonly datapathVersion?: string;
  /** This node. */
  readonly local: boolean;
}

/** Joins nodes, sorted by name. A WeftNode without a Node is a node without known addresses. */
export function deriveNodes(
  nodes: Iterable<NodeObject>,
  weftNodes: ReadonlyMap<string, WeftNodeObject>,
  localNode: string,
): ReadonlyMap<string, NodeModel> {
  const objects = new Map([...nodes].map((node) => [node.name, node]));
  const names = new Set([...objects.keys(), ...weftNodes.keys()]);
  return new Map(
    [...names].sort().map((name) => [
      name,
      deriveNode(name, objects.get(name), weftNodes.get(name), localNode),
    ]),
  );
}

function deriveNode(
  name: string,
  node: NodeObject | undefined,
  weftNode: WeftNodeObject | undefined,
  localNode: string,
): NodeModel {
  const uid = node?.uid ?? "";
  const said = weftNode !== undefined && isAbout(weftNode, name, uid) ? weftNode : undefined;
  return {
    name,
    uid,
    addresses: node?.addresses ?? [],
    podCidrs: node?.podCidrs ?? [],
    announced: said?.ready ?? false,
    ...(said !== undefined && {
      issuerFingerprint: said.issuerFingerprint,
      datapathVersion: said.datapathVersion,
    }),
    local: name === localNode,
  };
}

function isAbout(weftNode: WeftNodeObject, name: string, uid: string): boolean {
  if (weftNode.node !== name) return false;
  return uid === "" || weftNode.nodeUid === "" || weftNode.nodeUid === uid;
}
