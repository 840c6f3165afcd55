/**
 * What one file says: good documents beside bad ones, lines, last good versions, hostile input.
 *
 * @module
 */

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Rejection } from "@/src/model/mod.ts";
import {
  EMPTY_RECORD,
  type FileRecord,
  recordOf,
  type RecordOptions,
  unreadableRecord,
} from "@/src/watch/directory/record.ts";

const OPTIONS: RecordOptions = {
  systemNamespace: "kube-system",
  defaultNamespace: "default",
  netnsAnnotation: true,
  misplaced: () => undefined,
};

const bytesOf = (text: string) => new TextEncoder().encode(text);

const read = (text: string, previous: FileRecord = EMPTY_RECORD) =>
  recordOf("dir/a.yaml", bytesOf(text), previous, OPTIONS);

const ids = (record: FileRecord) => record.entries.map(({ id }) => id);

/** `line path: reason`, with "kept" where the last good version stays. */
const shown = (record: FileRecord) => record.rejections.map(show);

function show({ line, path, reason, kept }: Rejection): string {
  return `${line ?? "-"} ${path ?? "-"}: ${reason}${kept ? " (kept)" : ""}`;
}

const pod = (name: string) => `apiVersion: v1\nkind: Pod\nmetadata:\n  name: ${name}\n`;

const policy = (name: string, mode: string) =>
  `apiVersion: cilium.io/v2alpha1
kind: CiliumServiceMeshPolicy
metadata:
  name: ${name}
spec:
  mtls:
    mode: ${mode}
`;

const join = (...documents: string[]) => documents.join("---\n");

describe("a file", () => {
  it("may hold several documents, empty ones and comments", () => {
    const record = read(`# all of them\n---\n${join(pod("a"), pod("b"), "# none\n", "")}`);
    assert.deepEqual(ids(record), ["Pod default/a", "Pod default/b"]);
    assert.deepEqual(record.rejections, []);
  });

  it("may be JSON, with tabs", () => {
    const text = '{\n\t"apiVersion": "v1",\n\t"kind": "Pod",\n\t"metadata": {"name": "a"}\n}\n';
    assert.deepEqual(ids(read(text)), ["Pod default/a"]);
  });

  it("may begin with a byte order mark", () => {
    assert.deepEqual(ids(read(`\ufeff${pod("a")}`)), ["Pod default/a"]);
  });

  it("may hold a List, whose items are told apart", () => {
    const list = `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata: {name: a}
  - apiVersion: v1
    kind: Pod
    metadata:
      name: B
`;
    const record = read(list);
    assert.deepEqual(ids(record), ["Pod default/a"]);
    assert.deepEqual(shown(record), ["10 items[1].metadata.name: must be a DNS name"]);
  });

  it("counts what is of no use", () => {
    const deployment = pod("x").replace("v1", "apps/v1").replace("Pod", "Deployment");
    const record = read(join(deployment, pod("a"), deployment));
    assert.deepEqual([...record.ignored], [["Deployment", 2]]);
    assert.deepEqual(record.rejections, []);
  });

  it("may use anchors, aliases and merge keys", () => {
    const text = `apiVersion: v1
kind: Pod
metadata:
  name: a
  labels: &labels {app: web}
  annotations:
    <<: *labels
`;
    assert.deepEqual(ids(read(text)), ["Pod default/a"]);
  });
});

describe("a bad document", () => {
  it("is rejected with line, path and reason; the others are accepted", () => {
    const record = read(join(pod("a"), policy("p", "strict"), pod("b")));
    assert.deepEqual(ids(record), ["Pod default/a", "Pod default/b"]);
    assert.deepEqual(shown(record), [
      '12 spec.mtls.mode: must be one of "STRICT", "PERMISSIVE", "DISABLE"',
    ]);
    const [rejection] = record.rejections;
    assert.equal(rejection?.file, "dir/a.yaml");
    assert.equal(rejection?.document, 2);
    assert.deepEqual(rejection?.ref, {
      kind: "CiliumServiceMeshPolicy",
      namespace: "default",
      name: "p",
    });
  });

  it("points at the line of an unknown field, and at the parent of a missing one", () => {
    const text = policy("p", "STRICT") + "    oops: 1\n";
    assert.deepEqual(shown(read(text)), ['8 spec.mtls.oops: unknown field "oops"']);
    assert.deepEqual(shown(read(text.replace("    mode: STRICT\n    oops: 1\n", "    {}\n"))), [
      '6 spec.mtls.mode: must be one of "STRICT", "PERMISSIVE", "DISABLE"',
    ]);
  });

  it("leaves its last good version in force", () => {
    const good = read(join(policy("p", "STRICT"), policy("q", "STRICT")));
    const bad = read(join(policy("p", "strict"), policy("q", "STRICT")), good);
    assert.deepEqual(ids(bad), ["MeshPolicy default/q", "MeshPolicy default/p"]);
    assert.equal(bad.entries[1], good.entries[0]);
    assert.deepEqual(shown(bad), [
      '7 spec.mtls.mode: must be one of "STRICT", "PERMISSIVE", "DISABLE" (kept)',
    ]);
    const worse = read(join(policy("p", "stricter"), policy("q", "STRICT")), bad);
    assert.equal(worse.entries.find(({ id }) => id.endsWith("/p")), good.entries[0]);
    const gone = read(policy("q", "STRICT"), worse);
    assert.deepEqual(ids(gone), ["MeshPolicy default/q"]);
  });

  it("leaves everything in force that was in the file when it is no YAML", () => {
    const good = read(join(policy("p", "STRICT"), pod("a")));
    const bad = read(join("spec: [", pod("a")), good);
    assert.deepEqual(ids(bad).sort(), ["MeshPolicy default/p", "Pod default/a"]);
    assert.ok(bad.rejections.some(({ code, kept }) => code === "unreadable" && kept));
  });

  it("is one whose object stands before it in the file", () => {
    const record = read(join(policy("p", "STRICT"), policy("p", "DISABLE")));
    assert.equal(record.entries.length, 1);
    assert.deepEqual(shown(record), ["9 -: is defined on line 1 already"]);
    assert.equal(record.rejections[0]?.code, "duplicate");
  });

  it("is a policy that weft does not enforce", () => {
    const other = pod("n").replace("v1", "networking.k8s.io/v1").replace("Pod", "NetworkPolicy");
    const record = read(join(pod("a"), other));
    assert.deepEqual(shown(record), [
      "7 kind: NetworkPolicy is not supported yet: it is not enforced",
    ]);
    assert.equal(record.rejections[0]?.code, "unsupported");
  });
});

describe("an object that did not change", () => {
  it("is the very same after its file was read again", () => {
    const first = read(join(pod("a"), pod("b")));
    const second = read(join(pod("a"), pod("c")), first);
    assert.equal(second.entries[0], first.entries[0]);
  });

  it("is told anew when it has moved, for its lines are others", () => {
    const first = read(pod("a"));
    const second = read(`# a comment\n${pod("a")}`, first);
    assert.notEqual(second.entries[0], first.entries[0]);
    assert.equal(second.entries[0]?.line, 2);
  });
});

describe("the lines of an object", () => {
  it("are those of its fields", () => {
    const text = `# first
apiVersion: cilium.io/v2alpha1
kind: CiliumServiceMeshPolicy
metadata: {name: p}
spec:
  mtls:
    mode: PERMISSIVE
    portOverrides:
      - port: 80
        mode: STRICT
`;
    const origin = read(text).entries[0]?.origin;
    assert.equal(origin?.lineOf?.(["spec", "mtls", "mode"]), 7);
    assert.equal(origin?.lineOf?.(["spec", "mtls", "portOverrides", 0, "mode"]), 10);
    assert.equal(origin?.lineOf?.(["spec", "mtls", "sameNode"]), 6);
    assert.equal(origin?.lineOf?.(["status"]), 2);
  });

  it("are those of a pod's labels", () => {
    const text = pod("a") + '  labels:\n    app: web\n    mesh.cilium.io/enrolled: "true"\n';
    const origin = read(text).entries[0]?.origin;
    assert.equal(origin?.lineOf?.(["metadata", "labels", "mesh.cilium.io/enrolled"]), 7);
  });
});

describe("hostile input", () => {
  const unreadable = (bytes: Uint8Array) => {
    const good = read(pod("a"));
    const record = recordOf("dir/a.yaml", bytes, good, OPTIONS);
    assert.deepEqual(ids(record), ["Pod default/a"]);
    assert.equal(record.rejections.length, 1);
    assert.equal(record.rejections[0]?.code, "unreadable");
    assert.equal(record.rejections[0]?.kept, true);
    return record.rejections[0]?.reason ?? "";
  };

  it("is binary", () => {
    assert.equal(unreadable(bytesOf("a\0b")), "is binary, not text");
  });

  it("is not UTF-8", () => {
    assert.equal(unreadable(Uint8Array.of(0x61, 0xff, 0xfe)), "is not UTF-8 text");
  });

  it("expands without end", () => {
    const levels = Array.from({ length: 30 }, (_, level) => {
      const below = level === 0 ? "x" : `*l${level - 1}, *l${level - 1}`;
      return `l${level}: &l${level} [${below}]`;
    });
    assert.match(unreadable(bytesOf(levels.join("\n"))), /alias/i);
  });

  it("is nested without end", () => {
    const startMs = performance.now();
    unreadable(bytesOf("[".repeat(200_000)));
    assert.ok(performance.now() - startMs < 10_000);
  });

  it("has a key that JavaScript would lose, even escaped", () => {
    for (const key of ["__proto__", '"\\u005f_proto__"']) {
      const text = policy("p", "STRICT").replace(
        "  mtls:",
        `  target: {selector: {matchLabels: {${key}: x}}}\n  mtls:`,
      );
      assert.match(shown(read(text))[0] ?? "", /__proto__/);
      assert.deepEqual(ids(read(text)), []);
    }
  });

  it("has a key twice, or a tag that means nothing", () => {
    assert.match(shown(read(`${pod("a")}kind: Pod\n`))[0] ?? "", /unique/);
    assert.match(shown(read(pod("a").replace("name: a", "name: !!js/function a")))[0] ?? "", /tag/);
  });

  it("never throws, whatever it is", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      recordOf("x", bytes, EMPTY_RECORD, OPTIONS);
    }));
    const pieces = fc.constantFrom("- ", ": ", "{", "}", "[", "]", "\n", "  ", "kind", "&a", "*a");
    const more = fc.constantFrom(
      "---",
      "...",
      "|",
      ">",
      "'",
      '"',
      "#",
      "!t",
      "<<",
      "List",
      "items",
    );
    fc.assert(fc.property(fc.array(fc.oneof(pieces, more), { maxLength: 40 }), (words) => {
      read(words.join(""));
    }));
  });

  it("is a file that cannot be read at all", () => {
    const record = unreadableRecord("dir/a.yaml", "is larger than 1 byte", read(pod("a")));
    assert.deepEqual(ids(record), ["Pod default/a"]);
    assert.deepEqual(shown(record), ["- -: is larger than 1 byte (kept)"]);
  });
});
