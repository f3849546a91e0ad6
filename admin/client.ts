import { Client, Metadata, status } from "@grpc/grpc-js";
import { UserError } from "../base/user-error.ts";
import { pause } from "../base/waiting.ts";
import { membersOf, type RegionDescription, type VolumeDescription } from "../config/volume-description.ts";
import { channelCredentials } from "../proto/credentials.ts";
import { AdminService, type RegionStatus, type WaitProgress } from "../proto/generated/admin.ts";

const STATUS_MS_MAX = 2_000;
/** How long to look for a leader: longer than an election takes. */
const LEADER_MS_MAX = 10_000;
const RETRY_MS = 200;

type UnaryMethod = "status" | "switchover" | "promote" | "info" | "lossReport" | "changeMembers";
type RequestOf<M extends UnaryMethod> = Parameters<(typeof AdminService)[M]["requestSerialize"]>[0];
type AnswerOf<M extends UnaryMethod> = ReturnType<(typeof AdminService)[M]["responseDeserialize"]>;

/** A member and its status, undefined when it did not answer. */
export interface MemberAnswer {
  readonly id: number;
  readonly address: string;
  readonly status: RegionStatus | undefined;
}

/** Calls one server, on a new connection. @throws gRPC's ServiceError. */
async function callServer<M extends UnaryMethod>(address: string, method: M, request: RequestOf<M>, timeoutMs: number) {
  const client = new Client(address, channelCredentials());
  const { path, requestSerialize, responseDeserialize } = AdminService[method];
  try {
    return await new Promise<AnswerOf<M>>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize as (value: RequestOf<M>) => Buffer,
        responseDeserialize as (value: Buffer) => AnswerOf<M>,
        request,
        new Metadata(),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => (error ? reject(error) : resolve(answer!)),
      );
    });
  } finally {
    client.close();
  }
}

/** Asks every member of a region for its status, in parallel. Takes at most two seconds; never rejects. */
export async function askMembers(
  volume: VolumeDescription,
  region: RegionDescription,
): Promise<readonly MemberAnswer[]> {
  return await Promise.all(
    membersOf(region).map(async ({ id, address }) => {
      const request = { volume: volume.volume };
      const status = await callServer(address, "status", request, STATUS_MS_MAX).catch(() => undefined);
      return { id, address, status };
    }),
  );
}

/** Asks every member of every region for its status, in parallel. @returns the answers by region. */
export async function askAll(volume: VolumeDescription): Promise<ReadonlyMap<string, readonly MemberAnswer[]>> {
  const regions = [...volume.regions.values()];
  const answers = await Promise.all(regions.map((region) => askMembers(volume, region)));
  return new Map(regions.map((region, i) => [region.name, answers[i]!]));
}

/**
 * Calls the leader of a region; retries while the region has no leader or the leader changes, for at most ten seconds.
 * @throws UserError when no leader was found in that time.
 */
export async function callLeader<M extends Exclude<UnaryMethod, "status">>(
  volume: VolumeDescription,
  region: RegionDescription,
  method: M,
  request: RequestOf<M>,
  timeoutMs: number,
): Promise<AnswerOf<M>> {
  const giveUpAt = Date.now() + LEADER_MS_MAX;
  for (;;) {
    const leader = await findLeader(volume, region, giveUpAt);
    const answer = await callServer(leader, method, request, timeoutMs).catch(ignoreRetryable);
    if (answer !== undefined && !isRedirect(answer, leader)) return answer;
    await pause(RETRY_MS);
  }
}

/**
 * Sends a WaitRequest to the leader and yields its progress until it is done or `timeoutMs` are over; continues with the next
 * leader when the leader changes.
 * @throws UserError when the server refuses the request, or no leader is found.
 */
export async function* waitAtLeader(
  volume: VolumeDescription,
  region: RegionDescription,
  request: Parameters<typeof AdminService.wait.requestSerialize>[0],
  timeoutMs: number,
): AsyncGenerator<WaitProgress> {
  const endAt = Date.now() + timeoutMs;
  const { path, requestSerialize, responseDeserialize } = AdminService.wait;
  while (Date.now() < endAt) {
    const client = new Client(await findLeader(volume, region, endAt), channelCredentials());
    try {
      const options = { deadline: endAt };
      for await (const progress of client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
        options,
      )) {
        if (progress.error !== "" && progress.leader === "") throw new UserError(progress.error);
        yield progress;
        if (progress.done) return;
      }
    } catch (error) {
      if (error instanceof UserError) throw error;
      ignoreRetryable(error);
    } finally {
      client.close();
    }
    await pause(RETRY_MS);
  }
}

async function findLeader(volume: VolumeDescription, region: RegionDescription, giveUpAt: number): Promise<string> {
  for (;;) {
    const answers = await askMembers(volume, region);
    const leader = answers.find((it) => it.status?.isLeader);
    if (leader !== undefined) return leader.address;
    // A leader that the volume file does not name: it was added later.
    const added = answers.find((it) => it.status !== undefined && it.status.leader !== "")?.status?.leader;
    if (added !== undefined && !answers.some(({ address }) => address === added)) return added;
    if (Date.now() >= giveUpAt) {
      const reached = answers.filter((it) => it.status !== undefined).length;
      throw new UserError(
        `region ${region.name} has no leader: ${reached} of ${answers.length} metadata servers answer (${answers.map(({ address }) => address).join(", ")}): start a majority of them, and check the network`,
      );
    }
    await pause(RETRY_MS);
  }
}

/** Whether the server that we called redirected us to another leader. */
function isRedirect(answer: { ok?: boolean; leader?: string }, called: string): boolean {
  return answer.ok === false && answer.leader !== undefined && answer.leader !== "" && answer.leader !== called;
}

/** Errors after which the next leader may answer. */
const RETRYABLE: readonly (number | undefined)[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED];

function ignoreRetryable(error: unknown): undefined {
  if (!RETRYABLE.includes((error as { code?: number }).code)) throw error;
}
