/**
 * Idle tunnels: who gets one again, and which is closed when there are too many.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Deadlines, Waiter } from "@/src/relay/io/deadlines.ts";
import { TunnelPool } from "@/src/relay/path/pool.ts";

describe("the pool of idle tunnels", () => {
  it("gives back the one used last, for its own key alone", () => {
    const pool = new TunnelPool<FakeTunnel>(() => {});
    const [a, b, c] = [
      new FakeTunnel("p", "x"),
      new FakeTunnel("p", "x"),
      new FakeTunnel("p", "y"),
    ];
    for (const tunnel of [a, b, c]) pool.put(tunnel);
    assert.equal(pool.take("x"), b);
    assert.equal(pool.take("x"), a);
    assert.equal(pool.take("x"), undefined);
    assert.equal(pool.remove(c), true);
    assert.equal(pool.remove(c), false);
    assert.equal(pool.size, 0);
  });

  it("evicts the oldest of a pod that has too many, and nobody else's", () => {
    const pool = new TunnelPool<FakeTunnel>(() => {});
    const other = new FakeTunnel("q", "x");
    pool.put(other);
    const many = Array.from({ length: 513 }, (_, i) => new FakeTunnel("p", `${i}`));
    for (const tunnel of many) pool.put(tunnel);
    assert.deepEqual(many.filter((tunnel) => tunnel.evicted), [many[0]]);
    assert.equal(other.evicted, false);
    assert.equal(pool.size, 513);
  });
});

describe("deadlines", () => {
  it("come in order, and not when cleared or renewed", () => {
    const queue = new Deadlines(10);
    const log: string[] = [];
    const [a, b, c] = ["a", "b", "c"].map((name) => new Named(name, log)) as [Named, Named, Named];
    queue.set(a, 0);
    queue.set(b, 1);
    queue.set(c, 2);
    queue.clear(b);
    queue.set(a, 5);
    assert.equal(queue.nextMs, 12);
    queue.expire(12);
    assert.deepEqual(log, ["c"]);
    queue.expire(20);
    assert.deepEqual(log, ["c", "a"]);
    assert.equal(queue.nextMs, Infinity);
  });

  it("belong to one queue: setting one in another clears it in the first", () => {
    const [first, second] = [new Deadlines(10), new Deadlines(20)];
    const log: string[] = [];
    const a = new Named("a", log);
    first.set(a, 0);
    second.set(a, 0);
    first.expire(100);
    assert.deepEqual(log, []);
    second.expire(100);
    assert.deepEqual(log, ["a"]);
  });
});

class FakeTunnel {
  readonly pod: string;
  readonly poolKey: string;
  evicted = false;

  constructor(pod: string, poolKey: string) {
    this.pod = pod;
    this.poolKey = poolKey;
  }

  evict(): void {
    this.evicted = true;
  }
}

class Named extends Waiter {
  readonly #name: string;
  readonly #log: string[];

  constructor(name: string, log: string[]) {
    super();
    this.#name = name;
    this.#log = log;
  }

  onDeadline(): void {
    this.#log.push(this.#name);
  }
}
