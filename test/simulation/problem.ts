import { TRUTHS, type Truth } from "./checks/truths.ts";

/** Why a run failed. */
export interface Problem {
  /** Undefined: the simulator itself failed or took too long, which says nothing about what it simulates. */
  readonly truth: Truth | undefined;
  readonly message: string;
}

export function problemLine({ truth, message }: Problem): string {
  return truth === undefined ? `the simulator failed: ${message}` : `${truth} (${TRUTHS[truth]}): ${message}`;
}
