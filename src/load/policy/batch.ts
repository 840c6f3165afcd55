/**
 * Verdict programs in the kernel, and questions to them: maps and programs of this process alone,
 * attached to nothing and pinned nowhere.
 *
 * In: a plan of policies. Out: answers to questions, in their order. Everything is gone when it is
 * disposed of, or when the process ends.
 *
 * @module
 */

import { encode, type Program } from "../../asm/mod.ts";
import {
  type Bits,
  encodeQuestion,
  type PolicyAnswer,
  PolicyMap,
  type PolicyPlan,
  type PolicyQuestion,
  QUERY_SIZE_BYTES,
  readAnswer,
  STAGE_AFTER_VERDICT,
} from "../../compile/policy/mod.ts";
import { MapFlag, MapType, ProgramType } from "../../../ffi/bpf/constants.ts";
import { BpfMap, type MapDefinition } from "../../../ffi/bpf/map.ts";
import { BpfProgram } from "../../../ffi/bpf/program.ts";
import { u32Bytes } from "../../../ffi/memory.ts";
import {
  BATCH_COUNT_OFFSET,
  BATCH_HEADER_SIZE_BYTES,
  BATCH_QUESTIONS_MAX,
  BatchMap,
  batchProgram,
} from "./batch_program.ts";

/** Rows that may be added to those of a plan: distinct identities of questions without a place. */
const ADDED_ROWS_MAX = 4096;

/** The programs and rows of a plan, ready to be asked. */
export class PolicyBatch implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #maps = new Map<string, BpfMap>();
  readonly #first: BpfProgram;

  /** Rows by their bits: the index of each. */
  readonly #rows = new Map<string, number>();

  constructor(plan: PolicyPlan) {
    try {
      this.#makeMaps(plan);
      for (const [index, { program }] of plan.programs.entries()) {
        // The array holds it from here on: a plan may have more programs than descriptors.
        using loaded = this.#load(`verdict_${index}`, program);
        this.#map(BatchMap.PROGRAMS).update(u32Bytes(index), u32Bytes(loaded.fd));
      }
      this.#first = this.#stack.use(this.#load("batch_first", batchProgram("first")));
      using next = this.#load("batch_next", batchProgram("next"));
      this.#map(PolicyMap.STAGES).update(u32Bytes(STAGE_AFTER_VERDICT), u32Bytes(next.fd));
    } catch (error) {
      this.#stack.dispose();
      throw error;
    }
  }

  /** The index of a row of bits, added where there is none like it; undefined: there is no room. */
  addRow(row: Bits): number | undefined {
    const key = row.join();
    const known = this.#rows.get(key);
    if (known !== undefined) return known;
    const index = this.#rows.size + 1;
    if (index >= this.#map(PolicyMap.IDENTITIES).info.maxEntries) return undefined;
    this.#map(PolicyMap.IDENTITIES).update(u32Bytes(index), new Uint8Array(row.buffer));
    this.#rows.set(key, index);
    return index;
  }

  /** Answers questions, in their order. */
  ask(questions: readonly PolicyQuestion[]): PolicyAnswer[] {
    const answers: PolicyAnswer[] = [];
    for (let start = 0; start < questions.length; start += BATCH_QUESTIONS_MAX) {
      answers.push(...this.#askSome(questions.slice(start, start + BATCH_QUESTIONS_MAX)));
    }
    return answers;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #askSome(questions: readonly PolicyQuestion[]): PolicyAnswer[] {
    const dataIn = new Uint8Array(BATCH_HEADER_SIZE_BYTES + questions.length * QUERY_SIZE_BYTES);
    dataIn.set(u32Bytes(questions.length), BATCH_COUNT_OFFSET);
    const place = (index: number) => BATCH_HEADER_SIZE_BYTES + index * QUERY_SIZE_BYTES;
    for (const [index, question] of questions.entries()) {
      encodeQuestion(question, dataIn, place(index));
    }
    const { dataOut } = this.#first.testRun({ dataIn });
    return questions.map((_, index) => readAnswer(dataOut, place(index)));
  }

  #makeMaps(plan: PolicyPlan): void {
    const array = { keySize: 4, maxEntries: 1 };
    this.#make({ ...array, type: MapType.PERCPU_ARRAY, name: BatchMap.CURSOR, valueSize: 4 });
    this.#make({
      ...array,
      type: MapType.PERCPU_ARRAY,
      name: PolicyMap.QUERY,
      valueSize: QUERY_SIZE_BYTES,
    });
    this.#make({ ...array, type: MapType.PROG_ARRAY, name: PolicyMap.STAGES, valueSize: 4 });
    this.#make({
      type: MapType.PROG_ARRAY,
      name: BatchMap.PROGRAMS,
      keySize: 4,
      valueSize: 4,
      maxEntries: Math.max(1, plan.programs.length),
    });
    this.#make({
      type: MapType.ARRAY,
      name: PolicyMap.IDENTITIES,
      keySize: 4,
      valueSize: plan.words * 4,
      maxEntries: 1 + plan.rows.length + ADDED_ROWS_MAX,
    });
    for (const row of plan.rows) this.addRow(row);
    const places = this.#make({
      type: MapType.LPM_TRIE,
      name: BatchMap.PLACES,
      keySize: 20,
      valueSize: 4,
      maxEntries: Math.max(1, plan.places.length),
      flags: MapFlag.NO_PREALLOC,
    });
    for (const { identity, row } of plan.places) {
      const key = new Uint8Array([...u32Bytes(identity.range.bits), ...identity.range.bytes]);
      places.update(key, u32Bytes(row));
    }
  }

  #make(definition: MapDefinition): BpfMap {
    const map = this.#stack.use(BpfMap.create(definition));
    this.#maps.set(definition.name, map);
    return map;
  }

  #map(name: string): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new RangeError(`Cannot find map "${name}" of the batch`);
    return map;
  }

  #load(name: string, program: Program): BpfProgram {
    return BpfProgram.load({
      type: ProgramType.SCHED_CLS,
      name,
      license: "Dual BSD/GPL",
      instructions: encode(program, (map) => this.#map(map).fd),
    });
  }
}
