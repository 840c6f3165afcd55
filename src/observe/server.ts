/**
 * The agent's socket: HTTP over `RUN_DIR/weft.sock`, for the command line, and metrics over TCP
 * where asked for. In come requests, out go JSON, NDJSON streams and Prometheus text. Invariant:
 * root only (a 0700 directory, a 0600 socket), bounded requests, and an error of one request is
 * its own. HTTP rather than a protocol of our own, so that `curl --unix-socket` can ask too.
 *
 * @module
 */
import { errorCode, formatError } from "../errors.ts";
import type { Log } from "../log.ts";
import { explain } from "./explain/mod.ts";
import { parseExplainQuery } from "./explain/query.ts";
import type { Feed } from "./feed.ts";
import { lockRunDirectory } from "./lock.ts";
import type { Observer } from "./observer.ts";
import { writeRecord } from "./record.ts";
import { identityReport, policyReport, statusReport } from "./report.ts";
import { eventStream } from "./stream.ts";
import type { AgentView } from "./view.ts";

/** Name of the socket in the run directory. */
export const SOCKET_NAME = "weft.sock";
/** Largest body of a request. */
const BODY_BYTES_MAX = 4096;
/** Requests that are under way when the agent ends have this long. */
const STOP_PATIENCE_MS = 300;

export interface ServerOptions {
  readonly view: AgentView;
  readonly observer: Observer;
  readonly log: Log;
  /** of the run directory, where the caller holds it already, and goes on holding it */
  readonly lock?: Disposable;
}

/** Serves until disposed. The socket is there when this returns. */
export function serveAgent(options: ServerOptions): AsyncDisposable {
  const { runDirectory, metrics } = options.view.config;
  const stack = new AsyncDisposableStack();
  try {
    if (options.lock === undefined) stack.use(lockRunDirectory(runDirectory));
    writeRecord(options.view.config);
    stack.use(listenUnix(`${runDirectory}/${SOCKET_NAME}`, options));
    if (metrics) stack.use(listenMetrics(metrics, options));
    return stack.move();
  } catch (error) {
    // What is already open is closed in the background: the caller gets the first failure.
    void stack.disposeAsync();
    throw error;
  }
}

function listenUnix(path: string, options: ServerOptions): AsyncDisposable {
  // The lock says that nobody else serves here: what is left is of an agent that was killed.
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const abort = new AbortController();
  const server = Deno.serve(
    { path, signal: abort.signal, onListen: () => {} },
    (request) => answer(request, options),
  );
  Deno.chmodSync(path, 0o600);
  return { [Symbol.asyncDispose]: () => stop(server, abort, options.observer.feed) };
}

function listenMetrics(
  address: { hostname: string; port: number },
  options: ServerOptions,
): AsyncDisposable {
  const abort = new AbortController();
  const server = Deno.serve({
    ...address,
    signal: abort.signal,
    onListen: ({ hostname, port }) => options.log.info("metrics-served", { hostname, port }),
  }, (request) => {
    return URL.parse(request.url)?.pathname === "/metrics" && request.method === "GET"
      ? metricsResponse(options)
      : failure(404, "Only /metrics is served here");
  });
  return { [Symbol.asyncDispose]: () => stop(server, abort) };
}

/** Streams end first, so that the orderly end need not wait for them; nor for who says nothing. */
async function stop(
  server: Deno.HttpServer,
  abort: AbortController,
  feed?: Feed,
): Promise<void> {
  feed?.close();
  const timer = setTimeout(() => abort.abort(), STOP_PATIENCE_MS);
  await Promise.race([server.shutdown(), aborted(abort.signal)]);
  clearTimeout(timer);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

async function answer(request: Request, options: ServerOptions): Promise<Response> {
  const url = URL.parse(request.url);
  if (url === null) return failure(400, `Host and path make no URL: "${request.url}"`, "usage");
  const handler = ROUTES[`${request.method} ${url.pathname}`];
  if (handler === undefined) {
    return failure(404, `No such request: ${request.method} ${url.pathname}`);
  }
  try {
    return await handler(options, url, request);
  } catch (error) {
    const code = errorCode(error);
    if (code === "usage") return failure(400, formatError(error), code);
    if (code === "not-found") return failure(404, formatError(error), code);
    options.log.warn("request-failed", { request: url.pathname, error });
    return failure(500, formatError(error), code);
  }
}

type Handler = (
  options: ServerOptions,
  url: URL,
  request: Request,
) => Response | Promise<Response>;

const ROUTES: Readonly<Record<string, Handler>> = {
  "GET /status": ({ view, observer }) => json(statusReport(view, observer, Date.now())),
  "GET /identities": ({ view }) => json(identityReport(view.state(), view.identity())),
  "GET /policies": ({ view }) => json(policyReport(view.state())),
  "GET /explain": ({ view }, url) => {
    const query = parseExplainQuery(Object.fromEntries(url.searchParams));
    return json(explain(view.state(), query));
  },
  "GET /events": ({ observer }, url) => eventStream(observer.feed, url.searchParams),
  "GET /metrics": (options) => metricsResponse(options),
  "POST /cert-issue": async ({ view, log }, _url, request) => {
    const { parseCertificateRequest } = await import("./certificate_request.ts");
    const wanted = parseCertificateRequest(await bodyOf(request));
    const certificate = await view.issuePodCertificate(wanted);
    log.info("certificate-issued", { pod: wanted.pod, spiffeId: certificate.spiffeId });
    return json(certificate);
  },
  "POST /stop": ({ view, log }) => {
    log.info("stop-requested");
    view.stop();
    return json({ stopping: true });
  },
};

async function metricsResponse({ view, observer }: ServerOptions): Promise<Response> {
  const { metricsText, METRICS_TYPE } = await import("./metrics.ts");
  const text = await metricsText(view, observer);
  return new Response(text, { headers: { "content-type": METRICS_TYPE } });
}

/** JSON of a request; a body that is too large is not read to its end. */
async function bodyOf(request: Request): Promise<unknown> {
  const { UsageError } = await import("../errors.ts");
  const length = Number(request.headers.get("content-length") ?? NaN);
  if (!(length <= BODY_BYTES_MAX)) {
    throw new UsageError(`The body must be at most ${BODY_BYTES_MAX} bytes and say its length`);
  }
  try {
    return await request.json();
  } catch (cause) {
    throw new UsageError("The body must be JSON", { cause });
  }
}

function json(value: unknown): Response {
  return Response.json(value);
}

function failure(status: number, message: string, code = "request"): Response {
  return Response.json({ error: { code, message } }, { status });
}
