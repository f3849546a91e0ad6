import type { Command } from "commander";
import { type VolumeStatus, volumeStatus } from "../../admin/volume-status.ts";
import { readVolume, withConfig, withJson } from "../options.ts";
import { bytesText, durationText, table } from "../text.ts";

export function addStatus(program: Command): void {
  withJson(withConfig(program.command("status")))
    .description("show each region's role, servers, version, state hash, and how far its metadata and data are behind")
    .action(async (options) => {
      const status = await volumeStatus(readVolume(options));
      process.stdout.write(options.json ? `${JSON.stringify(status, null, 2)}\n` : statusText(status));
      if (!Object.values(status.regions).some((it) => it.reachable)) process.exitCode = 1;
    });
}

function statusText(status: VolumeStatus): string {
  const rows = Object.entries(status.regions).map(([name, it]) => [
    name,
    it.role,
    `${it.members.filter((member) => member.reachable).length}/${it.members.length}`,
    it.leader ?? "none",
    String(it.sequence ?? "?"),
    it.stateHash ?? "?",
    it.lag.commands === null ? "?" : `${it.lag.commands} (${durationText(it.lag.ms ?? 0)})`,
    it.blocks.pending === null
      ? "?"
      : `${it.blocks.pending} (${bytesText(it.blocks.pendingBytes ?? 0)}, ${durationText(it.blocks.oldestPendingMs ?? 0)})`,
    String(it.blocks.failed ?? "?"),
  ]);
  const head = [
    "region",
    "role",
    "servers",
    "leader",
    "sequence",
    "state hash",
    "commands behind",
    "blocks behind",
    "failed",
  ];
  const notes = Object.entries(status.regions)
    .filter(([, it]) => it.message !== "")
    .map(([name, it]) => `${name}: ${it.message}\n`);
  return `volume ${status.volume}, epoch ${status.epoch}, primary ${status.primary}\n${table(head, rows)}${notes.join("")}`;
}
