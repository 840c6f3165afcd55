/**
 * The announcement of this node in the directory source: one file `NAME.yaml` per agent in the
 * nodes folder. In: what the agent has to say. Out: the file, whole or not at all.
 *
 * Every agent can write that folder, so it can hold announcements and nothing else, and each only
 * under its own name: no agent gets a policy or a pod into the mesh through it.
 *
 * @module
 */

import { dirname } from "node:path";
import { stringify } from "yaml";
import { assert } from "../../assert.ts";
import { DNS_SUBDOMAIN, type ObjectRef } from "../../model/mod.ts";
import { WEFT_NODE_API_VERSION } from "../policy_schema.ts";

/** What an agent says about its node. */
export interface Announcement {
  readonly node: string;
  /** Of the Node; empty where it has none. */
  readonly uid: string;
  readonly issuerFingerprint: string;
  readonly datapathVersion: string;
  readonly ready: boolean;
}

/** Writes the announcement, in place of an earlier one. */
export async function announceNode(nodesDir: string, announcement: Announcement): Promise<void> {
  const path = pathOf(nodesDir, announcement.node);
  const { node, uid, issuerFingerprint, datapathVersion, ready } = announcement;
  const text = stringify({
    apiVersion: WEFT_NODE_API_VERSION,
    kind: "WeftNode",
    metadata: { name: node },
    spec: { node, uid, issuerFingerprint, datapathVersion, ready },
  });
  await Deno.mkdir(nodesDir, { recursive: true, mode: 0o755 });
  const temporary = `${nodesDir}/.${node}.${crypto.randomUUID()}`;
  try {
    await writeDurably(temporary, text);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/**
 * Whether the announcement has gone from a source that is there: somebody replaced the folder, and
 * the nodes folder in it with it.
 */
export async function isForgotten(nodesDir: string, node: string): Promise<boolean> {
  return await isMissing(pathOf(nodesDir, node)) && !(await isMissing(dirname(nodesDir)));
}

async function isMissing(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound;
  }
}

/** Takes the announcement back, and what a killed agent left of one; there may be none. */
export async function withdrawNode(nodesDir: string, node: string): Promise<void> {
  try {
    await Deno.remove(pathOf(nodesDir, node));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const leftovers: string[] = [];
  try {
    for await (const { name } of Deno.readDir(nodesDir)) {
      const isOurs = name.startsWith(`.${node}.`) && name.length === node.length + 2 + UUID_LENGTH;
      if (isOurs) leftovers.push(`${nodesDir}/${name}`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Promise.all(leftovers.map((path) => Deno.remove(path).catch(() => {})));
}

const UUID_LENGTH = 36;

/** Whether another node than `node` has announced itself in the folder. */
export async function hasOtherNodes(nodesDir: string, node: string): Promise<boolean> {
  const own = pathOf(nodesDir, node);
  try {
    for await (const { name } of Deno.readDir(nodesDir)) {
      const path = `${nodesDir}/${name}`;
      if (path !== own && !name.startsWith(".")) return true;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return false;
}

/** What may not be in a file of the nodes folder, with the reason. */
export function nodeFileFault(path: string): (ref: ObjectRef) => string | undefined {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return ({ kind, name }) => {
    if (kind !== "WeftNode") return "does not belong into the nodes directory: only WeftNodes do";
    if (file.replace(/\.(ya?ml|json)$/, "") === name) return undefined;
    return `must be in a file of its own name, "${name}.yaml"`;
  };
}

function pathOf(nodesDir: string, node: string): string {
  assert(node.length <= 253 && DNS_SUBDOMAIN.test(node), "the name of a node is a DNS name");
  return `${nodesDir}/${node}.yaml`;
}

async function writeDurably(path: string, text: string): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o644 });
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) {
    // deno-lint-ignore no-await-in-loop -- writes of one file follow each other
    sent += await file.write(bytes.subarray(sent));
  }
  await file.syncData();
}
