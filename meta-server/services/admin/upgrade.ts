import type { RegionState } from "../../../core/codec/records.ts";
import type { ServerContext } from "../../region/context.ts";
import type { Regions } from "../../roles/follower/regions.ts";

/** Regions in these states do not hold the level back: their servers are stopped by it when they come. */
const LEFT_OUT: readonly RegionState[] = ["detached", "removed"];

/**
 * Raises the volume's feature level by one, at the primary's leader. It is proposed only once every member of every region
 * has said, in this leader's term, that it knows the level. @returns why it was not raised; undefined if it was
 */
export async function upgrade(context: ServerContext, regions: Regions, level: number): Promise<string | undefined> {
  const { machine, group, proposer, region } = context;
  if (!context.isServing()) return `${region} is not the primary, or waits: 'mirrorfs status' shows why`;
  const { features } = machine.tree;
  if (level !== features + 1) return `the volume is at level ${features}, and takes only the next one, ${features + 1}`;
  const { term } = group.status();
  const lacking = await findLacking(context, regions, level);
  if (lacking.length > 0) return `not every metadata server knows level ${level}: ${lacking.join(", ")}`;
  if (group.status().term !== term) return "the leader has changed meanwhile: run it again";
  const applied = await proposer.internal({ kind: "setFeatures", level });
  return applied?.taken && applied.outcome.ok ? undefined : "the level was not committed: run it again";
}

async function findLacking({ machine }: ServerContext, regions: Regions, level: number): Promise<string[]> {
  const { uuid, regions: registered } = machine.tree.volume!;
  const asked = registered.filter(({ state }) => !LEFT_OUT.includes(state));
  const lacking = asked.map(async ({ name }) => {
    const members = await regions.askMembers(name);
    if (members === undefined) return [`no leader of ${name} answers`];
    return members.flatMap(({ id, status }) => {
      if (status === undefined || (status.uuid !== "" && status.uuid !== uuid))
        return [`${name}/${id} does not answer`];
      return status.supports < level ? [`${name}/${id} knows ${status.supports}`] : [];
    });
  });
  return (await Promise.all(lacking)).flat();
}
