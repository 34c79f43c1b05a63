import type { RandomStream } from '@mezzotint/core';
import type { ImageBatch } from '@mezzotint/data';
import { type TrainStep, train } from '@mezzotint/training';
import type { Companion as Trained } from '@mezzotint/training/node';
import type { TrainConfig } from './config.js';
import { learningRateOf } from './learning-rate.js';
import type { Task } from './task.js';

/** Where the network beside the model stands. */
interface CompanionState {
  readonly from: number;
  readonly companions: Readonly<Record<string, Trained>>;
  readonly rng: RandomStream;
  /** Losses since the last line of the log, from the checkpoint. */
  readonly companionLosses: readonly number[];
}

/** The updates of the network that is trained against the model, in turns with it and on the batches that it saw. */
export interface CompanionUpdates {
  /** The data of the model, which the companion sees after it. */
  watching(data: { next(): Promise<ImageBatch> }): { next(): Promise<ImageBatch> };
  /** The companion's turn after the model's update `step`: its loss, by its name in the log, and how long it took. */
  after(step: number): Promise<{ readonly losses: Readonly<Record<string, number>>; readonly seconds: number }>;
  /** The mean loss since last asked. */
  read(): Readonly<Record<string, number>>;
  /** Losses since last asked, which a checkpoint keeps. */
  state(): readonly number[];
}

/** The turns of a task's companion; nothing happens in them when it has none. */
export function companionUpdates(
  config: TrainConfig,
  { companion }: Task,
  { from, companions, rng, companionLosses }: CompanionState,
): CompanionUpdates {
  if (companion === undefined) {
    return {
      watching: (data) => data,
      after: async () => ({ losses: {}, seconds: 0 }),
      read: () => ({}),
      state: () => [],
    };
  }
  const seen: ImageBatch[] = [];
  const losses: number[] = [...companionLosses];
  const key = `${companion.name}Loss`;
  const updates: AsyncGenerator<TrainStep, void> = train({
    ...companions[companion.name]!,
    rng,
    data: { next: async () => seen.shift()! },
    loss: companion.loss,
    learningRate: learningRateOf(companion.learningRate, config.steps),
    maxGradientNorm: companion.optimizer.maxGradientNorm,
    accumulation: config.accumulation,
    from: Math.max(from, companion.start),
    until: config.steps,
  });
  return {
    watching: (data) => ({
      next: async () => {
        const batch = await data.next();
        seen.push(batch);
        return batch;
      },
    }),
    async after(step) {
      if (step <= companion.start) {
        seen.length = 0;
        return { losses: {}, seconds: 0 };
      }
      const { loss, seconds } = (await updates.next()).value as TrainStep;
      losses.push(loss);
      return { losses: { [key]: loss }, seconds };
    },
    state: () => [...losses],
    read() {
      const all = losses.splice(0);
      return all.length === 0 ? {} : { [key]: all.reduce((a, b) => a + b, 0) / all.length };
    },
  };
}
