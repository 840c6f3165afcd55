/**
 * What is done when the process is told to end: Ctrl-C, `kill`, a terminal that closes.
 *
 * @module
 */

const SIGNALS = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const;

/** Runs `clear` and then ends the process, until disposed. */
export function onInterrupt(clear: () => Promise<unknown>): Disposable {
  let ending = false;
  const listeners = SIGNALS.map(([signal, status]) => {
    const listener = async () => {
      if (ending) return;
      ending = true;
      await clear();
      Deno.exit(status);
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return { [Symbol.dispose]: () => listeners.forEach((remove) => remove()) };
}
