import { afterEach, expect, test, vi } from "vitest";
import type { ByteString, Inode, RegionIndex, SliceId } from "../../core/ids.ts";
import { Machine } from "../../meta-server/machine/machine.ts";
import { Status } from "../../proto/generated/metadata.ts";
import { TestVolume } from "../meta-server/harness.ts";
import { outcomeOf, RawClient } from "../meta-server/raw-client.ts";
import { until } from "../support/until.ts";

/** Bugs of other systems that lost deletes: docs/TRACK_RECORD.md, scenario 11. */
let volume: TestVolume;
let client: RawClient;
afterEach(async () => {
  vi.restoreAllMocks();
  client?.close();
  await volume.close();
});

async function sliced(name: string): Promise<void> {
  const file = await client.make(1, name);
  const granted = outcomeOf(await client.mutate({ kind: "grantSlices", count: 1 })) as { grant: { first: SliceId } };
  const slice = { id: granted.grant.first, bytes: 10, home: 0 as RegionIndex, crc32c: [1] };
  await client.mutate({ kind: "write", inode: file.inode, extents: [{ kind: "slice", offset: 0, slice }] });
}

test.each([
  ["deleted there, by the changelog", 24],
  ["deleted there, by a snapshot", 0],
] as const)(
  "11: what was deleted while a mirror was down is %s (ceph PR#51715, minio#13352, #12919)",
  async (_, retain) => {
    const servers = { groupTuning: { keepEntries: 100, cutStep: 100 } };
    const changelog = { retainHours: retain, retainGib: retain };
    volume = await TestVolume.create({ aws: 1, gcp: 1 }, { changelog, servers });
    await Promise.all([volume.start("aws"), volume.start("gcp")]);
    const { address } = await volume.leader("aws", ({ role }) => role === "primary");
    client = new RawClient(address);
    await until("a session", async () => (await client.open()).status === Status.OK);
    // Beyond the log's first checkpoint, so that the log can be truncated past the mirror's position.
    await Promise.all(Array.from({ length: 600 }, (_, n) => client.make(1, `earlier-${n}`)));
    for (let n = 0; n < 10; n++) await sliced(`file-${n}`);
    await volume.leader("gcp", ({ pendingBlocks }) => pendingBlocks === 10);
    await volume.stop("gcp");
    for (let n = 0; n < 9; n++) {
      await client.mutate({ kind: "unlink", parent: 1 as Inode, name: `file-${n}` as ByteString });
    }
    await Promise.all(Array.from({ length: 1_500 }, (_, n) => client.make(1, `later-${n}`)));
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const snapshots = vi.spyOn(Machine.prototype, "volumeSnapshot");
    await volume.start("gcp");
    const [a, b] = await until("one state", async () => {
      const both = [await volume.leader("aws"), await volume.leader("gcp")];
      return both[0]!.version!.sequence === both[1]!.version!.sequence ? both : undefined;
    });
    expect(b!.stateHash).toBe(a!.stateHash);
    expect(snapshots.mock.calls.length > 0).toBe(retain === 0);
    // Once the mirror has reported that no client there has them open, deleted files are no longer pending.
    await volume.leader("gcp", ({ pendingBlocks }) => pendingBlocks === 1);
    const mirror = new RawClient(b!.address);
    await mirror.welcome;
    for (let n = 0; n < 9; n++) expect(await mirror.lookup(1, `file-${n}`)).toBe("ENOENT");
    expect(await mirror.lookup(1, "file-9")).toMatchObject({ kind: "file" });
    mirror.close();
  },
);
