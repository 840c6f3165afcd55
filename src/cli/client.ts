/**
 * Asks the agent of this node over its socket. In comes a request, out goes what it answered, or an
 * error that says whether nobody is there, nobody may ask, or the request was wrong. Invariant: one
 * client per command, closed with it.
 *
 * @module
 */
import { errorCode, RequestError, UnreachableError, UsageError } from "../errors.ts";

/** The agent's socket in its run directory. */
export function socketPath(runDirectory: string): string {
  return `${runDirectory}/weft.sock`;
}

/** A connection to the agent; `using` closes it. */
export class AgentClient implements Disposable {
  readonly #path: string;
  readonly #http: Deno.HttpClient;
  readonly #signal: AbortSignal | undefined;

  /** Fails at once with an UnreachableError when no agent answers. */
  static async open(runDirectory: string, signal?: AbortSignal): Promise<AgentClient> {
    const path = socketPath(runDirectory);
    try {
      (await Deno.connect({ transport: "unix", path })).close();
    } catch (error) {
      throw unreachable(path, error);
    }
    return new AgentClient(path, signal);
  }

  private constructor(path: string, signal: AbortSignal | undefined) {
    this.#path = path;
    this.#signal = signal;
    this.#http = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  }

  /** `GET path?query` as the type that the agent's version of weft gives it. */
  async get<Answer>(path: string, query: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const response = await this.#fetch(path, query);
    return await response.json() as Answer;
  }

  async post<Answer>(path: string, body: unknown): Promise<Answer> {
    const response = await this.#fetch(path, {}, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return await response.json() as Answer;
  }

  /** The lines of a stream, empty ones left out, until it or the agent ends. */
  async *lines(path: string, query: Readonly<Record<string, string>>): AsyncGenerator<string> {
    const response = await this.#fetch(path, query);
    let rest = "";
    const chunks = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (chunks === undefined) return;
    try {
      while (true) {
        // deno-lint-ignore no-await-in-loop -- a stream is read piece by piece
        const chunk = await this.#next(chunks);
        if (chunk === undefined) return;
        const parts = (rest + chunk).split("\n");
        rest = parts.pop() ?? "";
        for (const line of parts) if (line !== "") yield line;
      }
    } finally {
      // Fails where the agent was killed, and then there is nothing to cancel.
      await chunks.cancel().catch(() => {});
    }
  }

  [Symbol.dispose](): void {
    this.#http.close();
  }

  /** A stream that breaks off is one whose agent was killed. */
  async #next(chunks: ReadableStreamDefaultReader<string>): Promise<string | undefined> {
    try {
      return (await chunks.read()).value;
    } catch (error) {
      if (this.#signal?.aborted) throw error;
      return undefined;
    }
  }

  async #fetch(
    path: string,
    query: Readonly<Record<string, string>>,
    init: RequestInit = {},
  ): Promise<Response> {
    // An address: the client looks names up, even those that it does not connect to.
    const url = `http://127.0.0.1${path}?${new URLSearchParams(query)}`;
    let response: Response;
    // A process that is stopped has a socket that accepts: nobody must wait for it without end.
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(SILENT), ANSWER_TIMEOUT_MS);
    try {
      const signal = AbortSignal.any([silence.signal, ...this.#signal ? [this.#signal] : []]);
      response = await fetch(url, { ...init, signal, client: this.#http });
    } catch (error) {
      if (this.#signal?.aborted) throw error;
      throw silence.signal.aborted ? await unanswered(this.#path) : unreachable(this.#path, error);
    } finally {
      clearTimeout(timer);
    }
    if (response.ok) return response;
    throw await refusal(response);
  }
}

/** The slowest answer is that of a large status, some milliseconds. */
const ANSWER_TIMEOUT_MS = 5000;
const SILENT = new Error(`nothing for ${ANSWER_TIMEOUT_MS / 1000} s`);

function unreachable(path: string, cause: unknown): UnreachableError {
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new UnreachableError(`Cannot talk to the agent at "${path}": permission denied`, {
      path,
      how: "forbidden",
    }, { cause: undefined });
  }
  const absent = cause instanceof Deno.errors.NotFound ||
    cause instanceof Deno.errors.ConnectionRefused;
  if (absent) {
    return new UnreachableError(`No agent answers at "${path}"`, { path, how: "absent" });
  }
  return new UnreachableError(`The agent at "${path}" does not answer`, { path, how: "broken" }, {
    cause,
  });
}

/** Somebody accepts and says nothing: which process it is, and what can be done about it. */
async function unanswered(path: string): Promise<UnreachableError> {
  const what = await silentProcess(path.slice(0, path.lastIndexOf("/")));
  const message = `The agent at "${path}" says ${SILENT.message}: ${what}`;
  return new UnreachableError(message, { path, how: "broken" });
}

async function silentProcess(runDirectory: string): Promise<string> {
  const { lockHolder, isStopped } = await import("../observe/mod.ts");
  try {
    const pid = lockHolder(runDirectory);
    if (pid !== undefined && isStopped(pid)) {
      return `its process ${pid} is stopped; \`kill -CONT ${pid}\` lets it go on`;
    }
    if (pid !== undefined) {
      return `its process ${pid} is stuck; \`kill -KILL ${pid}\` ends it, and its pins enforce on`;
    }
  } catch {
    // It has just ended, or the files are not ours to read.
  }
  return "nobody is known to hold its run directory; it may have ended just now";
}

/** The agent's own words. */
async function refusal(response: Response): Promise<Error> {
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    body = undefined;
  }
  const error = (body as { error?: { code?: string; message?: string } } | undefined)?.error;
  const message = error?.message ?? `The agent answered with status ${response.status}`;
  if (error?.code === "usage") return new UsageError(message);
  return new RequestError(message, { status: response.status });
}

/** Whether an error says that no agent is there. */
export function isUnreachable(error: unknown): error is UnreachableError {
  return errorCode(error) === "unreachable";
}
