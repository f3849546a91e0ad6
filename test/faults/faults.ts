import { CORE } from "./core.ts";
import type { Fault } from "./fault.ts";
import { SEMANTICS } from "./semantics.ts";

export const FAULTS: readonly Fault[] = [...CORE, ...SEMANTICS];
