import type { Command } from "commander";
import { callLeader } from "../../admin/client.ts";
import { UserError } from "../../base/user-error.ts";
import { readVolume, regionOf, withConfig } from "../options.ts";

const ANSWER_MS_MAX = 10_000;

export function addRegion(program: Command): void {
  const region = program.command("region").description("tell the regions about each other");
  withConfig(region.command("lost"))
    .description(
      "declare a region gone: the others do not wait for it any longer before they take changes; it counts again once it answers",
    )
    .argument("<region>", "the region that is gone")
    .action(async (name, options) => {
      const volume = readVolume(options);
      const lost = regionOf(volume, name);
      const others = [...volume.regions.values()].filter((one) => one !== lost);
      const request = { volume: volume.volume, region: lost.name };
      const orders = others.map((one) => callLeader(volume, one, "declareLost", request, ANSWER_MS_MAX));
      const answers = await Promise.allSettled(orders);
      const told: string[] = [];
      for (const [i, answer] of answers.entries()) {
        if (answer.status === "fulfilled" && answer.value.ok) told.push(others[i]!.name);
        else if (answer.status === "rejected") process.stderr.write(`mirrorfs: ${(answer.reason as Error).message}\n`);
        else throw new UserError(`${others[i]!.name}: ${answer.value.message}`);
      }
      if (told.length === 0) throw new UserError(`${lost.name} is not declared lost: no other region was reached`);
      process.stdout.write(`${told.join(", ")} no longer waits for ${lost.name}, until it answers again\n`);
    });
}
