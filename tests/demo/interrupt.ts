/**
 * What is done when the process is told to end: Ctrl-C, `kill`, a terminal that closes.
 *
 * Invariant: from then on nothing new is begun or said, because whoever would do so waits in
 * `goOn` for the end of the process.
 *
 * @module
 */
import type { Screen } from "./screen.ts";

const SIGNALS = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const;
let ending = false;

/** Runs `clear` and then ends the process, until disposed. */
export function onInterrupt(screen: Screen, clear: () => Promise<unknown>): Disposable {
  const listeners = SIGNALS.map(([signal, status]) => {
    const listener = async () => {
      if (ending) return;
      screen.line();
      screen.line(" interrupted: removing everything");
      screen.mute();
      ending = true;
      await clear();
      Deno.exit(status);
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return { [Symbol.dispose]: () => listeners.forEach((remove) => remove()) };
}

/** Resolves at once, or never when the process is ending. */
export function goOn(): Promise<void> {
  return ending ? new Promise(() => {}) : Promise.resolve();
}
