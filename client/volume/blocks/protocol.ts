import type { RegionIndex, SliceId } from "../../../core/ids.ts";

/** What the file system's thread and the thread of the object stores say to each other. */

export interface WorkerStart {
  readonly volume: string;
  /** By region index. */
  readonly buckets: readonly { readonly region: string; readonly url: string }[];
  readonly own: RegionIndex;
  /** Absent: no cache on disk. */
  readonly cache: { readonly directory: string; readonly bytesMax: number } | undefined;
}

export interface BlockRead {
  readonly slice: SliceId;
  readonly index: number;
  readonly bytes: number;
  readonly crc32c: number;
  readonly home: RegionIndex;
  /** How long to go on while no source answers. */
  readonly timeoutMs: number;
  /** Shared memory of the block's length that is to hold it; absent: the bytes come with the answer. */
  readonly into?: Uint8Array;
}

export interface BlockUpload {
  readonly region: RegionIndex;
  readonly slice: SliceId;
  readonly index: number;
  /** In shared memory, which must not change until the answer; or copied by the posting. */
  readonly data: Uint8Array;
}

export type Question =
  | { readonly kind: "read"; readonly block: BlockRead }
  | { readonly kind: "upload"; readonly block: BlockUpload }
  /** Whether the region's bucket can be used, and belongs to the region of the volume with this uuid. */
  | { readonly kind: "claim"; readonly region: RegionIndex; readonly uuid: string }
  | { readonly kind: "close" };

/** `missing`: no bucket has it, each one said so. `corrupt`: what there is fails its checksum. `unreachable`: nobody answered in time. */
export type ReadFailure = "missing" | "corrupt" | "unreachable";

export interface ReadAnswer {
  /** Absent when it failed, and when the bytes are where the question wanted them. */
  readonly data?: Uint8Array;
  readonly failure?: ReadFailure;
  /** The own bucket said that it has no such block. */
  readonly wanted: boolean;
  /** Regions whose copy failed its checksum. */
  readonly corruptIn: readonly RegionIndex[];
  readonly from: "disk" | RegionIndex | undefined;
}

export interface UploadAnswer {
  readonly crc32c?: number;
  /** An ObjectStoreErrorCode. */
  readonly code?: string;
  readonly message?: string;
}

export interface PlainAnswer {
  readonly ok: boolean;
  readonly code?: string;
  readonly message?: string;
}

export interface ClaimAnswer extends PlainAnswer {
  /** The bucket can be used and is another's: one sentence for the user. */
  readonly foreign?: string;
}

export interface AnswerOf {
  read: ReadAnswer;
  upload: UploadAnswer;
  claim: ClaimAnswer;
  close: PlainAnswer;
}

export interface QuestionMessage {
  readonly id: number;
  readonly question: Question;
}

export interface AnswerMessage {
  readonly id: number;
  readonly answer: AnswerOf[keyof AnswerOf];
}
