/**
 * What the operations and comparisons of the eBPF machine compute, on numbers alone.
 *
 * Division by zero gives zero and the remainder by zero the dividend; shifts use the lower bits of
 * their operand; results of 32 bits are extended with zeros.
 *
 * @module
 */

import { AluCode, JumpCode } from "../opcode.ts";

/** An operation of ALU32 or ALU64. */
export interface Operation {
  /** `AluCode` */
  readonly operation: number;
  readonly is64: boolean;
  /** Byte order: to network order. */
  readonly big: boolean;
}

/** Result of an operation; all numbers have 64 bits and no sign. */
export function compute(how: Operation, left: bigint, right: bigint): bigint {
  if (how.operation === AluCode.end) {
    return how.big ? reversed(left, Number(right)) : truncated(left, Number(right));
  }
  const bits = how.is64 ? 64 : 32;
  const [a, b] = [BigInt.asUintN(bits, left), BigInt.asUintN(bits, right)];
  return BigInt.asUintN(bits, binary(how.operation, a, b, bits));
}

/** Whether a comparison holds. */
export function holds(operation: number, left: bigint, right: bigint, is32: boolean): boolean {
  const bits = is32 ? 32 : 64;
  const [a, b] = [BigInt.asUintN(bits, left), BigInt.asUintN(bits, right)];
  const [s, t] = [BigInt.asIntN(bits, left), BigInt.asIntN(bits, right)];
  switch (operation) {
    case JumpCode.equal:
      return a === b;
    case JumpCode.notEqual:
      return a !== b;
    case JumpCode.greater:
      return a > b;
    case JumpCode.greaterOrEqual:
      return a >= b;
    case JumpCode.less:
      return a < b;
    case JumpCode.lessOrEqual:
      return a <= b;
    case JumpCode.anyBit:
      return (a & b) !== 0n;
    case JumpCode.sgreater:
      return s > t;
    case JumpCode.sgreaterOrEqual:
      return s >= t;
    case JumpCode.sless:
      return s < t;
    case JumpCode.slessOrEqual:
      return s <= t;
    default:
      throw new RangeError(
        `Cannot compare: operation 0x${operation.toString(16)} is no comparison`,
      );
  }
}

function binary(operation: number, a: bigint, b: bigint, bits: number): bigint {
  const shift = b & BigInt(bits - 1);
  switch (operation) {
    case AluCode.add:
      return a + b;
    case AluCode.sub:
      return a - b;
    case AluCode.mul:
      return a * b;
    case AluCode.div:
      return b === 0n ? 0n : a / b;
    case AluCode.mod:
      return b === 0n ? a : a % b;
    case AluCode.or:
      return a | b;
    case AluCode.and:
      return a & b;
    case AluCode.xor:
      return a ^ b;
    case AluCode.lsh:
      return a << shift;
    case AluCode.rsh:
      return a >> shift;
    case AluCode.arsh:
      return BigInt.asIntN(bits, a) >> shift;
    case AluCode.neg:
      return -a;
    case AluCode.mov:
      return b;
    default:
      throw new RangeError(`Cannot compute: operation 0x${operation.toString(16)} is not known`);
  }
}

function truncated(value: bigint, bits: number): bigint {
  return BigInt.asUintN(bits, value);
}

function reversed(value: bigint, bits: number): bigint {
  let [rest, result] = [truncated(value, bits), 0n];
  for (let index = 0; index < bits; index += 8) {
    result = (result << 8n) | (rest & 0xffn);
    rest >>= 8n;
  }
  return result;
}
