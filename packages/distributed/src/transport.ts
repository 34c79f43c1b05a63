/**
 * Moves bytes between the members of a group. Every member calls the same methods in the same order, and no method more than its
 * part: `Group` does the arithmetic. Buffers must stay as they are until a call resolves.
 */
export interface Transport {
  readonly rank: number;
  readonly size: number;
  /**
   * Every rank's part for this rank, one after the other in the order of ranks, into `into`.
   *
   * @param counts bytes of the part that each rank gets, equal on all ranks; the parts lie one after the other in `bytes`
   */
  exchangeParts(bytes: Uint8Array, counts: readonly number[], into: Uint8Array): Promise<void>;
  /** The bytes of all ranks, one after the other, `counts[r]` of rank r. */
  allGather(bytes: Uint8Array, into: Uint8Array, counts: readonly number[]): Promise<void>;
  /** As `allGather`, on rank `root` alone; others give no `into`. */
  gather(bytes: Uint8Array, into: Uint8Array | undefined, counts: readonly number[], root: number): Promise<void>;
  broadcast(bytes: Uint8Array, root: number): Promise<void>;
  barrier(): Promise<void>;
  abort(reason: string): void;
  close(): Promise<void>;
}
