/**
 * A client that never gives up, run in a place of a testbed while its agent is mistreated:
 * `faults_client.ts HOST PORT COUNT TEXT PACE_MS ROUNDS`. COUNT connections at a time to an echo,
 * each of which sends TEXT and its number ROUNDS times (for ever, if it is 0); one that ends is
 * replaced by another. Every attempt has an outcome and a deadline. A line of standard input is
 * answered with a `Tally`.
 *
 * Invariant: an attempt is counted once: as served, refused, broken or hung.
 *
 * @module
 */
import { readLines } from "../support/lines.ts";

/** What became of all attempts so far. */
export interface Tally {
  /** connections that stand and have been answered */
  busy: number;
  attempts: number;
  /** answered at least once */
  served: number;
  /** `connect()` failed */
  refused: number;
  /** accepted, then closed or reset without an answer */
  broken: number;
  /** no outcome before the deadline */
  hung: number;
  /** of a connection that had been answered: it broke later */
  lost: number;
  /** answers to lines in all */
  answers: number;
  /** longest time to the first outcome */
  longestMs: number;
  /** the local ports of those that hung, for whoever looks into a capture */
  readonly hungPorts: (number | "connecting")[];
}

/** An attempt, and an exchange, must have an outcome by then. */
export const DEADLINE_MS = 8000;
/** Between two attempts of one client: a refusal is quick. */
const PAUSE_MS = 50;

const tally: Tally = {
  busy: 0,
  attempts: 0,
  served: 0,
  refused: 0,
  broken: 0,
  hung: 0,
  lost: 0,
  answers: 0,
  longestMs: 0,
  hungPorts: [],
};

if (import.meta.main) {
  const [hostname = "", port = "", count = "", text = "", pace = "", rounds = ""] = Deno.args;
  const to = { hostname, port: Number(port) };
  const habit = { paceMs: Number(pace), rounds: Number(rounds) || Infinity };
  for (let index = 0; index < Number(count); index++) {
    void repeat(to, `${text} ${index}`, habit);
  }
  const encoder = new TextEncoder();
  for await (const _ of readLines(Deno.stdin.readable)) {
    Deno.stdout.writeSync(encoder.encode(`${JSON.stringify(tally)}\n`));
  }
  Deno.exit(0);
}

interface Habit {
  readonly paceMs: number;
  readonly rounds: number;
}

async function repeat(to: Deno.ConnectOptions, text: string, habit: Habit): Promise<never> {
  for (;;) {
    // deno-lint-ignore no-await-in-loop -- one attempt after the other
    await attempt(to, text, habit);
    // deno-lint-ignore no-await-in-loop
    await pause(PAUSE_MS);
  }
}

async function attempt(to: Deno.ConnectOptions, text: string, habit: Habit): Promise<void> {
  tally.attempts++;
  const start = performance.now();
  const over = AbortSignal.timeout(DEADLINE_MS);
  let connection: Deno.Conn;
  try {
    connection = await Deno.connect({ ...to, signal: over } as Deno.ConnectOptions);
  } catch {
    tally[over.aborted ? "hung" : "refused"]++;
    if (over.aborted) tally.hungPorts.push("connecting");
    return note(start);
  }
  let first = true;
  try {
    for (let round = 0; round < habit.rounds; round++) {
      // deno-lint-ignore no-await-in-loop -- one exchange after the other
      const outcome = await exchange(connection, text);
      if (first) note(start);
      if (outcome !== "answered") {
        tally[outcome === "hung" ? "hung" : first ? "broken" : "lost"]++;
        const { port } = connection.localAddr as Deno.NetAddr;
        if (outcome === "hung") tally.hungPorts.push(port);
        return;
      }
      tally.answers++;
      if (first) {
        tally.served++;
        tally.busy++;
      }
      first = false;
      // deno-lint-ignore no-await-in-loop
      await pause(habit.paceMs);
    }
  } finally {
    if (!first) tally.busy--;
    connection.close();
  }
}

/** Sends a text and reads until as much has come back. */
async function exchange(
  connection: Deno.Conn,
  text: string,
): Promise<"answered" | "broken" | "hung"> {
  const { promise: late, resolve } = Promise.withResolvers<"hung">();
  const timer = setTimeout(() => resolve("hung"), DEADLINE_MS);
  const bytes = new TextEncoder().encode(text);
  const talk = async (): Promise<"answered" | "broken"> => {
    const buffer = new Uint8Array(bytes.length);
    try {
      await connection.write(bytes);
      for (let got = 0; got < bytes.length;) {
        // deno-lint-ignore no-await-in-loop -- reads of one stream
        const count = await connection.read(buffer);
        if (count === null) return "broken";
        got += count;
      }
      return "answered";
    } catch {
      return "broken";
    }
  };
  const outcome = await Promise.race([talk(), late]);
  clearTimeout(timer);
  return outcome;
}

function note(start: number): void {
  tally.longestMs = Math.max(tally.longestMs, Math.round(performance.now() - start));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
