import { type Group, joinWorkers, workers } from '../src/index.js';

/** Runs a body in every member of a group of `size` in this thread, and gives what they return, in the order of ranks. */
export function members<T>(size: number, body: (group: Group) => Promise<T>, slotBytes?: number): Promise<T[]> {
  const seats = workers(size, slotBytes === undefined ? {} : { slotBytes });
  return Promise.all(
    seats.map(async (seat) => {
      const group = joinWorkers(seat);
      try {
        return await body(group);
      } catch (error) {
        group.abort((error as Error).message);
        throw error;
      }
    }),
  );
}
