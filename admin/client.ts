import { Client, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { UserError } from "../base/user-error.ts";
import { pause } from "../base/waiting.ts";
import { membersOf, type RegionDescription, type VolumeDescription } from "../config/volume-description.ts";
import { channelCredentials } from "../proto/credentials.ts";
import { AdminService, type ConfirmAnswer, type RegionStatus, type WaitProgress } from "../proto/generated/admin.ts";
import { NOT_THE_LEADER } from "../proto/refusals.ts";

const STATUS_MS_MAX = 2_000;
/** How long to look for a leader: longer than an election takes. */
const LEADER_MS_MAX = 10_000;
const RETRY_MS = 200;
/** How long to wait for a connection to a server that has just answered. */
const CONNECT_MS_MAX = 2_000;

type UnaryMethod =
  | "status"
  | "format"
  | "confirm"
  | "end"
  | "declareLost"
  | "switchover"
  | "promote"
  | "info"
  | "lossReport"
  | "changeMembers"
  | "upgrade";
type RequestOf<M extends UnaryMethod> = Parameters<(typeof AdminService)[M]["requestSerialize"]>[0];
type AnswerOf<M extends UnaryMethod> = ReturnType<(typeof AdminService)[M]["responseDeserialize"]>;

/** A member and its status, undefined when it did not answer. */
export interface MemberAnswer {
  readonly id: number;
  readonly address: string;
  readonly status: RegionStatus | undefined;
  /** Why the server at this address refused to answer: it serves another volume. */
  readonly refusal?: string | undefined;
}

/** No connection was made in time: the server has not seen the call. */
class NotConnected extends Error {}

/**
 * Calls one server, on a new connection.
 * @param connectMsMax waits that long for the connection first, so that a call which was not sent is told from one that was.
 * @throws NotConnected, or gRPC's ServiceError.
 */
async function callServer<M extends UnaryMethod>(
  address: string,
  method: M,
  request: RequestOf<M>,
  { timeoutMs, connectMsMax }: { timeoutMs: number; connectMsMax?: number },
) {
  const client = new Client(address, channelCredentials());
  const { path, requestSerialize, responseDeserialize } = AdminService[method];
  const deadline = Date.now() + timeoutMs;
  try {
    if (connectMsMax !== undefined) await connected(client, Math.min(deadline, Date.now() + connectMsMax));
    return await new Promise<AnswerOf<M>>((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        requestSerialize as (value: RequestOf<M>) => Buffer,
        responseDeserialize as (value: Buffer) => AnswerOf<M>,
        request,
        new Metadata(),
        { deadline },
        (error, answer) => (error ? reject(error) : resolve(answer!)),
      );
    });
  } finally {
    client.close();
  }
}

function connected(client: Client, deadline: number): Promise<void> {
  return new Promise((resolve, reject) => {
    client.waitForReady(deadline, (error) => (error ? reject(new NotConnected("no connection")) : resolve()));
  });
}

/** Asks every member of a region for its status, in parallel. Takes at most two seconds; never rejects. */
export async function askMembers(
  volume: VolumeDescription,
  region: RegionDescription,
): Promise<readonly MemberAnswer[]> {
  return await Promise.all(
    membersOf(region).map(async ({ id, address }) => {
      const request = { volume: volume.volume };
      const answer = await callServer(address, "status", request, { timeoutMs: STATUS_MS_MAX }).then(
        (status) => ({ status }),
        (error) => ({ status: undefined, refusal: refusalIn(error) }),
      );
      return { id, address, ...answer };
    }),
  );
}

/** Asks every member of every region for its status, in parallel. @returns the answers by region. */
export async function askAll(volume: VolumeDescription): Promise<ReadonlyMap<string, readonly MemberAnswer[]>> {
  const regions = [...volume.regions.values()];
  const answers = await Promise.all(regions.map((region) => askMembers(volume, region)));
  return new Map(regions.map((region, i) => [region.name, answers[i]!]));
}

/** Asks the leader of a region what its group has committed. Takes at most two seconds; undefined if no leader answers. */
export async function confirmRegion(
  volume: VolumeDescription,
  region: RegionDescription,
): Promise<ConfirmAnswer | undefined> {
  const request = { volume: volume.volume, uuid: "", region: "", version: undefined, life: 0, state: "" };
  const asked = membersOf(region).map(({ address }) =>
    callServer(address, "confirm", request, { timeoutMs: STATUS_MS_MAX }),
  );
  return await Promise.any(asked).catch(() => undefined);
}

/** Methods that change nothing may be repeated whatever became of the last call. */
const READS: readonly UnaryMethod[] = ["info", "lossReport"];

/**
 * Calls the leader of a region. Retries for at most ten seconds while the region has no leader or its leader changes; a call that
 * changes something, only when it cannot have been carried out. Takes at most these ten seconds and `timeoutMs`.
 * @throws UserError when no leader carried it out in that time, or when it is unknown whether one did.
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
    const result = await callServer(leader, method, request, { timeoutMs, connectMsMax: CONNECT_MS_MAX }).then(
      (answer) => ({ answer }),
      (error) => ({ failure: retryable(error) }),
    );
    if ("answer" in result) return result.answer;
    const { sent, details } = result.failure;
    if (sent && !READS.includes(method))
      throw new UserError(
        `region ${region.name}: no answer from its leader ${leader} (${details}): it is not known whether the change was made: look with 'mirrorfs status' before you try again`,
      );
    if (Date.now() >= giveUpAt)
      throw new UserError(
        `region ${region.name}: its leader ${leader} answers status, but not this call (${details}): look at its log`,
      );
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
      retryable(error);
    } finally {
      client.close();
    }
    await pause(RETRY_MS);
  }
}

function refusalIn(error: Partial<ServiceError>): string | undefined {
  return error.code === status.FAILED_PRECONDITION ? error.details : undefined;
}

/** What to say when no server answers: a server that serves another volume is named. */
export function silence(answers: readonly MemberAnswer[]): string {
  const other = answers.find(({ refusal }) => refusal !== undefined);
  return other === undefined
    ? "no metadata server answers"
    : `${other.address}: ${other.refusal}: correct the volume's name or the address in the volume file`;
}

async function findLeader(volume: VolumeDescription, region: RegionDescription, giveUpAt: number): Promise<string> {
  for (;;) {
    const answers = await askMembers(volume, region);
    const leader = answers.find((it) => it.status?.isLeader);
    if (leader !== undefined) return leader.address;
    // A leader that the volume file does not name: it was added later.
    const added = answers.find((it) => it.status !== undefined && it.status.leader !== "")?.status?.leader;
    if (added !== undefined && !answers.some(({ address }) => address === added)) return added;
    if (answers.every(({ status }) => status === undefined) && answers.some(({ refusal }) => refusal !== undefined))
      throw new UserError(`region ${region.name}: ${silence(answers)}`, 2);
    if (Date.now() >= giveUpAt) {
      const reached = answers.filter((it) => it.status !== undefined).length;
      throw new UserError(
        `region ${region.name} has no leader: ${reached} of ${answers.length} metadata servers answer (${answers.map(({ address }) => address).join(", ")}): start a majority of them (all of them, if the region is new), and check the network`,
      );
    }
    await pause(RETRY_MS);
  }
}

/** Errors after which the next leader may answer. */
const RETRYABLE: readonly (number | undefined)[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED];

/** @returns what the error says, and whether the server may have carried out the call. @throws any other error. */
function retryable(error: unknown): { sent: boolean; details: string } {
  if (error instanceof NotConnected) return { sent: false, details: error.message };
  const { code, details = "" } = error as Partial<ServiceError>;
  if (!RETRYABLE.includes(code)) throw error;
  return { sent: !(code === status.UNAVAILABLE && details.endsWith(NOT_THE_LEADER)), details };
}
