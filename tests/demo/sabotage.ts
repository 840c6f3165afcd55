/**
 * `scripts/demo --sabotage`: the walkthrough with one mechanism gone at a time. A demonstration
 * that cannot fail shows nothing; each sabotage names the expectations that must break, and those
 * that must hold nevertheless, because another mechanism stands behind.
 *
 * Links are detached from outside, with bpftool, while no agent is there to put them back. What
 * only code can take away is taken out of a copy of the source, which is built and played; weft
 * itself has no switch that would weaken it.
 *
 * @module
 */
import { buildVariant, type Mutation, type Variant } from "./variant.ts";
import { goOn, onInterrupt } from "./interrupt.ts";
import { findExecutable } from "./executable.ts";
import { Scene } from "./scene.ts";
import type { Screen } from "./screen.ts";
import { type Moment, playStep, type Step, type StepResult, tellFailure } from "./step.ts";
import { AGENT_DIES, AGENT_DIES_CHECKS } from "./steps/agent_dies.ts";
import { CERTIFICATES } from "./steps/certificates.ts";
import { STOLEN_FROM_VICTIM, TWO_NODES } from "./steps/two_nodes.ts";
import { UsageError } from "@/tests/testbed/arguments.ts";
import { count, duration } from "./words.ts";

/** A mechanism and what depends on it. */
export interface Sabotage {
  readonly name: string;
  /** what is taken away, in words */
  readonly title: string;
  readonly step: Step;
  /** expectations that must fail */
  readonly breaks: readonly string[];
  /** expectations that must hold all the same */
  readonly holds: readonly string[];
  /** links that are detached when the agent has been killed: ends of the names of their pins */
  readonly detach?: readonly string[];
  /** what is taken out of the source */
  readonly mutation?: Mutation;
}

const { refused, noPayload, silent, probe } = AGENT_DIES_CHECKS;
const GUARD = ["-to", "-from"];
const LOOKUP = ["-lookup"];

export const SABOTAGES: readonly Sabotage[] = [
  {
    name: "guard",
    title: "the guard is detached from the pods' veths",
    step: AGENT_DIES,
    detach: GUARD,
    // Nothing vouches for the node's own packets any more; and what has no row is refused.
    breaks: [probe],
    holds: [refused, silent],
  },
  {
    name: "lookup",
    title: "sk_lookup is detached from the pods",
    step: AGENT_DIES,
    detach: LOOKUP,
    // The handshake reaches the application; the guard waits for the proof that a relay has it.
    breaks: [refused],
    holds: [noPayload, silent, probe],
  },
  {
    name: "both",
    title: "the guard and sk_lookup are detached",
    step: AGENT_DIES,
    detach: [...GUARD, ...LOOKUP],
    breaks: [refused, noPayload, silent],
    holds: [probe],
  },
  {
    name: "verification",
    title: "the relay does not verify its peers",
    step: CERTIFICATES,
    mutation: {
      file: "src/relay/tls/judge.ts",
      from: "    if (chainError !== X509Error.OK) return this.#refuseChain(chainError, svid);\n",
      to: "    this.svid = svid;\n    if (svid.faults !== undefined) return X509Error.OK;\n" +
        "    if (chainError !== X509Error.OK) return this.#refuseChain(chainError, svid);\n",
    },
    breaks: ["of another CA", "expired", "a pod's, used from outside"],
    holds: ["none at all"],
  },
  {
    name: "binding",
    title: "the relay does not ask which node has issued a certificate",
    step: TWO_NODES,
    mutation: {
      file: "src/identity/verify.ts",
      from: '  if (svid.issuerKind !== "node" || svid.issuerName !== node.node) return false;\n',
      to: "  if (svid.issuerKind !== undefined) return true;\n",
    },
    breaks: [STOLEN_FROM_VICTIM],
    holds: ["as billing, from outside", "as billing, from the thief's pod"],
  },
];

/** Plays sabotages by name, or all of them; 0 if each broke what it had to, and nothing else. */
export async function playSabotage(screen: Screen, names: readonly string[]): Promise<number> {
  const known = SABOTAGES.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new UsageError(
      `there is no sabotage "${unknown.join(" ")}": there are ${known.join(", ")}`,
    );
  }
  const chosen = SABOTAGES.filter(({ name }) => names.length === 0 || names.includes(name));
  const weft = await findExecutable((line) => screen.line(line));
  const start = performance.now();
  let worked = 0;
  for (const sabotage of chosen) {
    // deno-lint-ignore no-await-in-loop -- one mechanism at a time
    if (await playOne(screen, sabotage, weft)) worked++;
  }
  const elapsed = duration(performance.now() - start);
  screen.line();
  screen.line(
    ` ${worked} of ${count(chosen.length, "sabotage")} made their step fail in ${elapsed}`,
  );
  return worked === chosen.length ? 0 : 1;
}

async function playOne(screen: Screen, sabotage: Sabotage, weft: string): Promise<boolean> {
  screen.line();
  screen.line(` without: ${sabotage.title}`);
  await using stack = new AsyncDisposableStack();
  try {
    const { mutation } = sabotage;
    let variant: Variant | undefined;
    if (mutation !== undefined) {
      screen.note(`building a copy of the source with ${mutation.file} changed …`);
      variant = stack.use(await buildVariant(mutation));
    }
    Deno.env.set("WEFT_BIN", variant?.weft ?? weft);
    const scene = stack.use(await Scene.open());
    const clear = () => Promise.all([scene.clear(), variant?.[Symbol.asyncDispose]()]);
    stack.use(onInterrupt(screen, clear));
    const at = (moment: Moment) => disturb(moment, sabotage, scene, screen);
    const result = await playStep(sabotage.step, scene, screen, at);
    await goOn();
    return judge(screen, sabotage, result);
  } catch (error) {
    tellFailure(screen, "the sabotage can be played", error);
    return false;
  }
}

/** Whether the step failed as it had to. */
function judge(screen: Screen, sabotage: Sabotage, result: StepResult): boolean {
  const find = (expected: string) => result.checks.find((check) => check.expected === expected);
  const wrong = [
    ...sabotage.breaks.filter((name) => find(name)?.passed !== false)
      .map((name) => `"${name}" did not fail`),
    ...sabotage.holds.filter((name) => find(name)?.passed !== true)
      .map((name) => `"${name}" did not hold`),
  ];
  screen.line();
  screen.check(
    wrong.length === 0 && !result.passed,
    `step ${sabotage.step.number} fails without it`,
    wrong.length === 0 ? sabotage.breaks.map((name) => `"${name}"`).join(", ") : wrong.join("; "),
  );
  return wrong.length === 0 && !result.passed;
}

async function disturb(
  moment: Moment,
  sabotage: Sabotage,
  scene: Scene,
  screen: Screen,
): Promise<void> {
  const { detach } = sabotage;
  if (moment !== "agent-killed" || detach === undefined) return;
  const { bpffs } = await scene.one.node("node-1");
  const links = `${bpffs}/links`;
  const names = (await Array.fromAsync(Deno.readDir(links))).map(({ name }) => name)
    .filter((name) => name.startsWith("pod-") && detach.some((end) => name.endsWith(end)));
  if (names.length === 0) throw new Error(`There is no link to detach in "${links}"`);
  for (const name of names.sort()) {
    screen.command("node-1#", `bpftool link detach pinned …/links/${name}`);
    const args = ["link", "detach", "pinned", `${links}/${name}`];
    // deno-lint-ignore no-await-in-loop -- in order, as they are told
    const { success, stderr } = await new Deno.Command("bpftool", { args }).output();
    if (!success) throw new Error(`bpftool: ${new TextDecoder().decode(stderr).trim()}`);
  }
}
