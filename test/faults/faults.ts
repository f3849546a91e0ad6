import { CORE } from "./core.ts";
import type { Fault } from "./fault.ts";

export const FAULTS: readonly Fault[] = [...CORE];
