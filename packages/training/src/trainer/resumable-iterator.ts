/**
 * Endless training data that says where it stands. `next` gives host data (typed arrays; the loss makes the tensors), and
 * `state`, as JSON, is the position after the last `next` that resolved: an iterator made from it goes on with the batch
 * that would have come.
 */
export interface ResumableIterator<T> {
  next(): Promise<T>;
  state(): unknown;
}
