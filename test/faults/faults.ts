import { CLEARANCE } from "./clearance.ts";
import { CONSENSUS_LEASES } from "./consensus-leases.ts";
import { CONSENSUS_MEMBERSHIP } from "./consensus-membership.ts";
import { CONSENSUS_RUNTIME } from "./consensus-runtime.ts";
import { CORE } from "./core.ts";
import { EPOCHS } from "./epochs.ts";
import type { Fault } from "./fault.ts";
import { FILE_CONTENTS } from "./file-contents.ts";
import { LEVELS } from "./levels.ts";
import { MIRRORING } from "./mirroring.ts";
import { PROMISES } from "./promises.ts";
import { SEMANTICS } from "./semantics.ts";

export const FAULTS: readonly Fault[] = [
  ...CORE,
  ...EPOCHS,
  ...CLEARANCE,
  ...SEMANTICS,
  ...PROMISES,
  ...FILE_CONTENTS,
  ...MIRRORING,
  ...LEVELS,
  ...CONSENSUS_MEMBERSHIP,
  ...CONSENSUS_LEASES,
  ...CONSENSUS_RUNTIME,
];
