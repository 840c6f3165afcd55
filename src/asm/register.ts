/**
 * The eleven registers of the eBPF machine.
 *
 * The number of a register is branded: an immediate can never stand where a register should, which
 * is the commonest slip in hand-written instructions.
 *
 * @module
 */

/** The brand of registers: it exists for the compiler alone. */
export declare const REGISTER: unique symbol;

/** A register's number. */
export type Register = number & { readonly [REGISTER]: true };

/** Result of a call, and of the program. */
export const R0: Register = register(0);
/** First argument of a call; the context at the program's start. Calls destroy R1 to R5. */
export const R1: Register = register(1);
/** Second argument of a call. */
export const R2: Register = register(2);
/** Third argument of a call. */
export const R3: Register = register(3);
/** Fourth argument of a call. */
export const R4: Register = register(4);
/** Fifth argument of a call. */
export const R5: Register = register(5);
/** Survives calls. */
export const R6: Register = register(6);
/** Survives calls. */
export const R7: Register = register(7);
/** Survives calls. */
export const R8: Register = register(8);
/** Survives calls. */
export const R9: Register = register(9);
/** End of the stack of 512 bytes; read-only, so slots have negative offsets. */
export const R10: Register = register(10);

/** Number of registers. */
export const REGISTERS = 11;

/** Bytes below R10. */
export const STACK_SIZE_BYTES = 512;

/** The register of a number that is known to be one, as after decoding. */
export function register(number: number): Register {
  if (!Number.isInteger(number) || number < 0 || number > 10) {
    throw new RangeError(
      `Cannot name a register: number must be 0 to 10, current value is ${number}`,
    );
  }
  return number as Register;
}
