/**
 * The bound on handshakes that are under way.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  Handshakes,
  HANDSHAKES_MAX,
  HANDSHAKES_PER_SOURCE_MAX,
} from "@/src/relay/io/handshakes.ts";

describe("handshakes under way", () => {
  it("are bounded for one address, and others have room", () => {
    const handshakes = new Handshakes();
    const some = Array.from(
      { length: HANDSHAKES_PER_SOURCE_MAX },
      () => handshakes.enter("10.0.0.1"),
    );
    assert.equal(handshakes.hasRoom("10.0.0.1"), false);
    assert.equal(handshakes.hasRoom("10.0.0.2"), true);
    some[0]?.[Symbol.dispose]();
    assert.equal(handshakes.hasRoom("10.0.0.1"), true);
    handshakes.enter("10.0.0.1");
    some[0]?.[Symbol.dispose](); // again: it counts once
    assert.equal(handshakes.hasRoom("10.0.0.1"), false);
  });

  it("are bounded in all", () => {
    const handshakes = new Handshakes();
    for (let i = 0; i < HANDSHAKES_MAX; i++) handshakes.enter(`10.0.${i >> 8}.${i & 255}`);
    assert.equal(handshakes.hasRoom("10.1.0.1"), false);
  });
});
