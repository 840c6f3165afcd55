/**
 * The log: one line of JSON per event, and no secret in it.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError, formatError } from "@/src/errors.ts";
import { openLog } from "@/src/log.ts";

/** What a log writes. */
function linesOf(level: "debug" | "warn", write: (log: ReturnType<typeof openLog>) => void) {
  const lines: string[] = [];
  write(openLog({ level, write: (line) => lines.push(line) }));
  return lines.map((line) => JSON.parse(line));
}

describe("the log", () => {
  it("writes one line of JSON per event, whatever is in the fields", () => {
    const raw: string[] = [];
    openLog({ write: (line) => raw.push(line) }).info("pod-found", { name: "a\nb", id: 5n });
    assert.equal(raw.length, 1);
    assert.match(raw[0] ?? "", /^[^\n]+\n$/);
    const line = JSON.parse(raw[0] ?? "");
    assert.deepEqual({ ...line, time: "" }, {
      time: "",
      level: "info",
      event: "pod-found",
      name: "a\nb",
      id: "5",
    });
  });

  it("leaves out what is below its level", () => {
    const lines = linesOf("warn", (log) => {
      log.info("quiet");
      log.warn("loud");
    });
    assert.deepEqual(lines.map(({ event }) => event), ["loud"]);
  });

  it("carries the fields of with()", () => {
    const [line] = linesOf("debug", (log) => log.with({ worker: 1 }).debug("x", { y: 2 }));
    assert.equal(line.worker, 1);
    assert.equal(line.y, 2);
  });

  it("cannot be made to say another level or event", () => {
    const [line] = linesOf("debug", (log) => log.error("real", { level: "info" }));
    assert.equal(line.level, "error");
  });

  it("withholds private keys, TLS secrets and bytes, at any depth", () => {
    const pem = "-----BEGIN PRIVATE KEY-----\nMIG";
    const [line] = linesOf("debug", (log) =>
      log.info("made", {
        pem,
        nested: { list: [pem] },
        keylog: "CLIENT_TRAFFIC_SECRET_0 00 11",
        bytes: new Uint8Array([1, 2, 3]),
      }));
    assert.equal(line.pem, "(withheld)");
    assert.equal(line.nested.list[0], "(withheld)");
    assert.equal(line.keylog, "(withheld)");
    assert.equal(line.bytes, "(3 bytes)");
  });

  it("writes errors with their code and causes", () => {
    const error = new ConfigError("Cannot use it", { option: "--x" }, { cause: new Error("why") });
    const [line] = linesOf("debug", (log) => log.error("failed", { error }));
    assert.deepEqual(line.error, { code: "config", message: "Cannot use it: why" });
  });
});

describe("formatError()", () => {
  it("is one line, and ends with causes that go in circles", () => {
    const error = new Error("a\nb");
    error.cause = error;
    assert.doesNotMatch(formatError(error), /\n/);
  });
});
