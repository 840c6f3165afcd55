/**
 * The feed: order, bounds, and what a slow reader is told.
 *
 * @module
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EventBody } from "@/src/observe/event.ts";
import {
  Feed,
  type FeedItem,
  RECENT_MAX,
  SUBSCRIBERS_MAX,
  WAITING_MAX,
} from "@/src/observe/feed.ts";

const BODY: EventBody = {
  timeMs: 0,
  hook: "connect",
  verdict: "refuse",
  reason: "mtls-required",
  protocol: "TCP",
  source: { address: "10.0.0.1", port: 0 },
  target: { address: "10.0.0.2", port: 80 },
};

/** Everything that a subscriber reads until the feed closes. */
async function readAll(items: AsyncIterable<FeedItem>): Promise<FeedItem[]> {
  const read: FeedItem[] = [];
  for await (const item of items) read.push(item);
  return read;
}

describe("Feed", () => {
  it("numbers events and gives them to subscribers in order", async () => {
    const feed = new Feed();
    const subscription = feed.subscribe();
    assert.ok(subscription);
    feed.publish(BODY);
    feed.publish(BODY);
    feed.close();
    const read = await readAll(subscription);
    assert.deepEqual(read.map((item) => item.type === "event" && item.event.id), [1, 2]);
  });

  it("wakes a subscriber that waits", async () => {
    const feed = new Feed();
    const subscription = feed.subscribe();
    assert.ok(subscription);
    const next = subscription[Symbol.asyncIterator]().next();
    feed.publish(BODY);
    assert.equal((await next).value?.type, "event");
    feed.close();
  });

  it("keeps the latest events, oldest first, and no more than its bound", () => {
    const feed = new Feed();
    for (let index = 0; index < RECENT_MAX + 10; index++) feed.publish(BODY);
    const recent = feed.recent();
    assert.equal(recent.length, RECENT_MAX);
    assert.equal(recent[0]?.id, 11);
    assert.equal(recent.at(-1)?.id, RECENT_MAX + 10);
    assert.deepEqual(feed.recent(RECENT_MAX + 9).map(({ id }) => id), [RECENT_MAX + 10]);
  });

  it("tells a slow subscriber how many it has lost, before what it still has", async () => {
    const feed = new Feed();
    const subscription = feed.subscribe();
    assert.ok(subscription);
    for (let index = 0; index < WAITING_MAX + 3; index++) feed.publish(BODY);
    feed.close();
    const read = await readAll(subscription);
    assert.deepEqual(read[0], { type: "lost", count: 3, where: "reader" });
    assert.equal(read.length, WAITING_MAX + 1);
    assert.ok(read[1]?.type === "event" && read[1].event.id === 4);
  });

  it("passes on what the kernel has lost", async () => {
    const feed = new Feed();
    const subscription = feed.subscribe();
    assert.ok(subscription);
    feed.lose(5, "kernel");
    feed.lose(0, "relay");
    feed.close();
    assert.deepEqual(await readAll(subscription), [{ type: "lost", count: 5, where: "kernel" }]);
  });

  it("bounds its subscribers, and one that leaves makes room", () => {
    const feed = new Feed();
    const all = Array.from({ length: SUBSCRIBERS_MAX }, () => feed.subscribe());
    assert.equal(feed.subscribe(), undefined);
    all[0]?.close();
    assert.ok(feed.subscribe());
    feed.close();
  });
});
