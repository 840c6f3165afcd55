/**
 * Events as lines of JSON. In come the feed and what the reader asked for, out goes a streaming
 * response: first the past, then, with `follow`, what happens. Invariant: a reader who asks for one
 * pod or reason still learns of every gap.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { isRefusalReason } from "../reasons.ts";
import { concerns, type Event } from "./event.ts";
import type { Feed, FeedItem, Subscription } from "./feed.ts";

/** A stream that says nothing for so long gets an empty line, so that a dead reader is noticed. */
const KEEPALIVE_MS = 15_000;

/** Answers `GET /events?since=&follow=&reason=&pod=`. */
export function eventStream(feed: Feed, params: URLSearchParams): Response {
  const filter = parseFilter(params);
  const since = parseSince(params.get("since"));
  const live = params.get("follow") === "true" ? feed.subscribe() : undefined;
  if (params.get("follow") === "true" && live === undefined) {
    const message = "Too many readers of events: end another `weft monitor` first";
    return Response.json({ error: { code: "busy", message } }, { status: 503 });
  }
  // Nothing is awaited between the subscription and this copy: no event is missed or seen twice.
  const past: FeedItem[] = feed.recent(since).map((event) => ({ type: "event", event }));
  return new Response(lines(past, live, filter), {
    headers: { "content-type": "application/x-ndjson" },
  });
}

type Filter = (event: Event) => boolean;

function parseFilter(params: URLSearchParams): Filter {
  const reason = params.get("reason");
  const pod = params.get("pod");
  if (reason !== null && reason !== "none" && !isRefusalReason(reason)) {
    throw new UsageError(`No such reason: "${reason}"`);
  }
  return (event) =>
    (reason === null || event.reason === reason) && (pod === null || concerns(event, pod));
}

/** The number of an event; `now` skips the past. */
function parseSince(text: string | null): number {
  if (text === null) return 0;
  if (text === "now") return Infinity;
  const since = Number(text);
  if (!Number.isSafeInteger(since) || since < 0) {
    throw new UsageError(
      `"since" must be the number of an event, or "now": current value is "${text}"`,
    );
  }
  return since;
}

function lines(
  past: readonly FeedItem[],
  live: Subscription | undefined,
  filter: Filter,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const wanted = (item: FeedItem) => item.type !== "event" || filter(item.event);
  const iterator = live?.[Symbol.asyncIterator]();
  let keepalive: ReturnType<typeof setInterval> | undefined;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const text = past.filter(wanted).map((item) => `${JSON.stringify(item)}\n`).join("");
      // An empty line right away: the reader's request returns before the first event.
      controller.enqueue(encoder.encode(text === "" && live ? "\n" : text));
      if (iterator === undefined) return controller.close();
      keepalive = setInterval(() => controller.enqueue(encoder.encode("\n")), KEEPALIVE_MS);
    },
    async pull(controller) {
      while (true) {
        // deno-lint-ignore no-await-in-loop -- skips what the filter drops
        const next = await iterator?.next();
        if (next === undefined || next.done) {
          clearInterval(keepalive);
          return controller.close();
        }
        if (wanted(next.value)) {
          return controller.enqueue(encoder.encode(`${JSON.stringify(next.value)}\n`));
        }
      }
    },
    cancel() {
      clearInterval(keepalive);
      live?.close();
    },
  });
}
