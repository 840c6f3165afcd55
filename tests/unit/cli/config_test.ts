/**
 * Settings become one frozen Config, or an error that names the option.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConfig, parseDurationMs, type Settings } from "@/src/config.ts";

const MINIMUM: Settings = {
  source: "/etc/weft",
  node: "node-1",
  runDir: "/run/weft",
  stateDir: "/var/lib/weft",
  bpffs: "/sys/fs/bpf/weft",
  cgroup: "/sys/fs/cgroup",
  trustDomain: "cluster.local",
  systemNamespace: "kube-system",
  enroll: "label",
  defaultMode: "PERMISSIVE",
  sameNode: "encrypt",
  svidTtl: "1h",
  workers: "2",
  logLevel: "info",
};

describe("parseConfig()", () => {
  it("derives what is not given", () => {
    const config = parseConfig(MINIMUM);
    assert.equal(config.source.nodesDirectory, "/etc/weft/.nodes");
    assert.equal(config.caDirectory, "/var/lib/weft/ca");
    assert.equal(config.svidTtlMs, 3_600_000);
    assert.equal(config.workers, 2);
    assert.equal(config.metrics, undefined);
  });

  it("returns what nobody can change", () => {
    const config = parseConfig({ ...MINIMUM, metricsAddr: "[::1]:9469" });
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.source));
    assert.deepEqual(config.metrics, { hostname: "::1", port: 9469 });
    assert.ok(Object.isFrozen(config.metrics));
  });

  it("takes modes in any case", () => {
    assert.equal(parseConfig({ ...MINIMUM, defaultMode: "strict" }).defaultMode, "STRICT");
  });

  const wrong: [Partial<Record<keyof Settings, unknown>>, string, RegExp][] = [
    [{ source: undefined }, "--source", /required/],
    [{ source: "etc" }, "--source", /absolute/],
    [{ node: "Node_1" }, "--node", /DNS name/],
    [{ defaultMode: "LOOSE" }, "--default-mode", /STRICT, PERMISSIVE, DISABLE/],
    [{ svidTtl: "1 h" }, "--svid-ttl", /duration/],
    [{ svidTtl: "1s" }, "--svid-ttl", /duration/],
    [{ workers: "0" }, "--workers", /1/],
    [{ workers: "nine" }, "--workers", /./],
    [{ metricsAddr: "localhost" }, "--metrics-addr", /HOST:PORT/],
    [{ metricsAddr: "localhost:99999" }, "--metrics-addr", /HOST:PORT/],
    [{ insecureKeylog: "keys" }, "--insecure-keylog", /absolute/],
    [{ trustDomain: "a/b" }, "--trust-domain", /DNS name/],
  ];
  for (const [change, option, message] of wrong) {
    it(`refuses ${JSON.stringify(change)} and names ${option}`, () => {
      assert.throws(() => parseConfig({ ...MINIMUM, ...change }), {
        code: "config",
        option,
        message,
      });
    });
  }

  it("refuses a setting that it does not know", () => {
    assert.throws(() => parseConfig({ ...MINIMUM, colour: "red" }), { option: "--colour" });
  });
});

describe("parseDurationMs()", () => {
  it("adds up units", () => {
    assert.equal(parseDurationMs("1h30m"), 5_400_000);
    assert.equal(parseDurationMs("250ms"), 250);
  });

  it("takes nothing else for a duration", () => {
    for (const text of ["", "5", "h", "1h ", "-1h", "1.5h", "1y"]) {
      assert.ok(Number.isNaN(parseDurationMs(text)), text);
    }
  });
});
