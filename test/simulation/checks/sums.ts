import type { ByteString } from "../../../core/ids.ts";
import { checkInvariants } from "../../../core/invariants.ts";
import { decodePending, pendingPrefix } from "../../../meta-server/machine/local-keys.ts";
import type { Machine } from "../../../meta-server/machine/machine.ts";
import { invariant } from "../environment/world.ts";

/** Computes the sums of a server's state anew, from what it has stored: of the volume, and of what its region lacks. */
export async function checkSums(name: string, machine: Machine): Promise<void> {
  const pairs: (readonly [ByteString, Uint8Array])[] = [];
  for await (const page of machine.view.pages("")) pairs.push(...page);
  const errors = checkInvariants(pairs);
  invariant("sums at rest", errors.length === 0, () => `the state of ${name}: ${errors.join("; ")}`);
  const sum = { slices: 0, blocks: 0, bytes: 0 };
  for await (const page of machine.localPages(pendingPrefix(machine.facts.generation))) {
    for (const [, value] of page) {
      const { blocks, bytes } = decodePending(value);
      sum.slices += 1;
      sum.blocks += blocks;
      sum.bytes += bytes;
    }
  }
  const { slices, blocks, bytes } = machine.facts.totals;
  invariant(
    "sums at rest",
    sum.slices === slices && sum.blocks === blocks && sum.bytes === bytes,
    () => `${name} counts ${JSON.stringify({ slices, blocks, bytes })} pending, its records are ${JSON.stringify(sum)}`,
  );
}
