import type { RegionIndex, SliceId } from "../../../core/ids.ts";

/** Messages between the file system's thread and the thread of the object stores. */

export interface WorkerStart {
  readonly volume: string;
  /** By region index. */
  readonly buckets: readonly { readonly region: string; readonly url: string }[];
  readonly own: RegionIndex;
  /** The disk cache; absent: none. */
  readonly cache: { readonly directory: string; readonly bytesMax: number } | undefined;
}

export interface BlockRead {
  readonly slice: SliceId;
  readonly index: number;
  readonly bytes: number;
  readonly crc32c: number;
  readonly home: RegionIndex;
  /** How long to retry while a source does not answer. */
  readonly timeoutMs: number;
  /** Shared memory of the block's length, to read into; absent: the bytes come with the answer. */
  readonly into?: Uint8Array;
}

export interface BlockUpload {
  readonly region: RegionIndex;
  readonly slice: SliceId;
  readonly index: number;
  /** Shared memory, which must not change until the answer, or memory that postMessage copies. */
  readonly data: Uint8Array;
}

export type Question =
  | { readonly kind: "read"; readonly block: BlockRead }
  | { readonly kind: "upload"; readonly block: BlockUpload }
  /** Checks that the region's bucket can be used, and that it belongs to this region of the volume with this uuid. */
  | { readonly kind: "claim"; readonly region: RegionIndex; readonly uuid: string }
  | { readonly kind: "close" };

/**
 * `missing`: every bucket answered that it lacks the block. `corrupt`: every bucket answered, and no copy matches the
 * checksum. `unreachable`: some bucket did not answer in time.
 */
export type ReadFailure = "missing" | "corrupt" | "unreachable";

export interface ReadAnswer {
  /** Absent after a failure, and when the bytes were read into `BlockRead.into`. */
  readonly data?: Uint8Array;
  readonly failure?: ReadFailure;
  /** The bucket of the mount's region answered that it lacks the block. */
  readonly missingInOwn: boolean;
  /** Regions whose copy failed its checksum. */
  readonly corruptIn: readonly RegionIndex[];
  readonly from: "disk" | RegionIndex | undefined;
}

export interface UploadAnswer {
  readonly crc32c?: number;
  /** Of the failure: an ObjectStoreErrorCode. */
  readonly code?: string;
  readonly message?: string;
}

export interface PlainAnswer {
  readonly ok: boolean;
  readonly code?: string;
  readonly message?: string;
}

export interface ClaimAnswer extends PlainAnswer {
  /** The bucket can be used, but belongs to another volume or region: one sentence for the user. */
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
