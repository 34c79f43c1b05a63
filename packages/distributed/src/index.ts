export { type ProcessPlace, processPlace, shardOf } from './environment.js';
export { addPairwise } from './fixed-order.js';
export type { Group, Numbers, ReduceOptions, Reduction, Sendable } from './group.js';
export { type MpiOptions, mpi, openGroup } from './mpi.js';
export { single } from './single.js';
export { joinWorkers, type WorkerSeat, type WorkersOptions, workers } from './workers.js';
