/**
 * Faults of files: the agent's own state, and the source that it reads.
 *
 * @module
 */
import { type Clause, type Mutation, testsOf } from "./clause.ts";

const DIRECTORY = "src/watch/directory/directory.ts";
const AUTHORITY = "src/identity/authority.ts";
const FILES = "src/identity/store/files.ts";

const around = testsOf("tests/node/faults_agent_test.ts", "an agent around which things fail");
const folder = testsOf(
  "tests/unit/watch/directory_faults_test.ts",
  "the folder of a running agent",
);
const source = testsOf("tests/unit/watch/directory_test.ts");
const state = testsOf(
  "tests/unit/identity/faults_test.ts",
  "a file of the state directory under a running agent",
);

/** Takes a folder that cannot be read for an empty one. */
const UNREADABLE_IS_EMPTY: Mutation = {
  file: DIRECTORY,
  find: "      return this.#files;\n    }\n    const [before, after]",
  put: "      return new Map();\n    }\n    const [before, after]",
};

/** Keeps to itself what is wrong with a file. */
const FILES_IN_SILENCE: Mutation = {
  file: AUTHORITY,
  find: '        this.#report("files", error);',
  put: "        void error;",
};

const stateFiles: readonly Clause[] = [
  ...["issuer.crt", "issuer.key", "bundle.pem"].map((name): Clause => ({
    promise: `${name} cut short is named in \`weft status\`, and what works goes on`,
    test: around(
      "a broken file of the state directory",
      `(${name}, cut short) is named, what works goes on, and it recovers`,
    ),
    mutation: FILES_IN_SILENCE,
  })),
  {
    promise: "A file that is filled with garbage takes nothing away that was loaded",
    test: state("bundle.pem filled with garbage: it is named, and what was loaded goes on"),
    mutation: {
      file: AUTHORITY,
      find: '        this.#report("files", error);',
      put: '        this.#report("files", error);\n        this.#svids.retain([]);',
    },
  },
  {
    promise: "A state file of another user is refused by name, with what to do",
    test: state("issuer.key of another user: it is named, and what was loaded goes on"),
    mutation: {
      file: FILES,
      find: "  if (uid !== 0 && uid !== own) {",
      put: "  if (uid === -1) {",
    },
  },
  {
    promise: "A state file that others may write is refused by name",
    test: state("bundle.pem open to others' writing: it is named, and what was loaded goes on"),
    mutation: {
      file: FILES,
      find: "  if ((mode & open) === 0) return;",
      put: "  if (open) return;",
    },
  },
  {
    promise: "No agent starts on a broken key, no root is made in its place, all stays closed",
    test: around(
      "a broken file of the state directory",
      "lets no new agent start, which says what is wrong; all stays closed",
    ),
    mutation: {
      file: "src/identity/node_issuer.ts",
      find: "  if (await readCredentials(place.stateDirectory) === null) await",
      put: "  if (await readCredentials(place.stateDirectory).catch(() => null) === null) await",
    },
  },
  ...["cut short", "empty", "filled with garbage", "of other fields"].map((how): Clause => ({
    promise: `Last good policies ${how}: what they closed stays closed, and the file is named`,
    test: {
      file: "tests/unit/watch/directory_faults_test.ts",
      name: [
        "the last good policies, when their file is broken",
        `${how}: what they closed stays closed until a person has looked`,
      ],
    },
    mutation: {
      file: DIRECTORY,
      find: "    else if (lost !== undefined) this.failure ??=",
      put: '    else if (lost === "") this.failure ??=',
    },
  })),
];

const directory: readonly Clause[] = [
  {
    promise: "A source that is emptied keeps everything in force",
    test: source("a source failure", "is a folder that loses all of its objects at once"),
    mutation: { file: DIRECTORY, find: "    if (before > 0) {", put: "    if (before < 0) {" },
  },
  {
    promise: "A source that is removed keeps everything in force",
    test: source("a source failure", "is a folder that vanishes: everything stays in force"),
    mutation: UNREADABLE_IS_EMPTY,
  },
  {
    promise: "A source that cannot be read keeps everything in force",
    test: folder("stays in force when it becomes a link to itself, and recovers"),
    mutation: UNREADABLE_IS_EMPTY,
  },
  {
    promise: "A source failure is in `weft status`, with exit status 1",
    test: around(
      "a source that",
      "is removed keeps everything in force, is told of, and recovers",
    ),
    mutation: {
      file: "src/observe/report.ts",
      find: "  if (state.source.failure !== undefined) {",
      put: "  if (state.source.failure === VERSION) {",
    },
  },
  {
    promise: "A source filled with binary keeps everything in force, each file named",
    test: folder("stays in force when all of it turns binary, each file named"),
    mutation: {
      file: "src/watch/directory/record.ts",
      find: "(broken || this.#bad.has(id))",
      put: "(!broken && this.#bad.has(id))",
    },
  },
  {
    promise: "An agent whose announcement is lost with the folder announces itself again",
    test: around(
      "a source that",
      "loses its folder of announcements is announced into again",
    ),
    mutation: {
      file: "src/agent_state.ts",
      find: '      this.#announced = "";\n',
      put: "",
    },
  },
  {
    promise: "A source that is replaced while it is read loses no object",
    test: folder("loses no object while it is replaced again and again"),
    mutation: UNREADABLE_IS_EMPTY,
  },
  {
    promise: "A loop of symbolic links is walked once",
    test: {
      file: "tests/unit/watch/directory_files_test.ts",
      name: ["a file", "is read once, however many links lead to its folder"],
    },
    mutation: {
      file: "src/watch/directory/scan.ts",
      find: "  if (seen.has(identity)) return [];",
      put: "",
    },
  },
  {
    promise: "A document of 100 MB is rejected by name, and not read",
    test: folder("does not take a document of 100 MB into memory"),
    mutation: {
      file: DIRECTORY,
      find: "  if (before.size > SOURCE_FILE_SIZE_BYTES_MAX) return",
      put: "  if (before.size < 0) return",
    },
  },
  {
    promise: "10,000 documents are taken whole and at once",
    test: folder("takes 10,000 documents, of one file, whole and at once"),
    mutation: {
      file: "src/limits.ts",
      find: "export const SOURCE_DOCUMENTS_MAX = 65_536;",
      put: "export const SOURCE_DOCUMENTS_MAX = 5000;",
    },
  },
  {
    promise: "A document that was valid and no longer is stays in force, also over a restart",
    test: source(
      "a bad document",
      "leaves its last good version in force, also over a restart of the agent",
    ),
    mutation: {
      file: "src/watch/directory/record.ts",
      find: "(broken || this.#bad.has(id))",
      put: "(broken && this.#bad.has(id))",
    },
  },
];

/** Of the section "faults". */
export const fileFaults: readonly Clause[] = [...stateFiles, ...directory];
