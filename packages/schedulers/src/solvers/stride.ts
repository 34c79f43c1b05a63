import type { NoiseLevel } from '@mezzotint/core';
import type { DiscreteProcess } from '../schedules/process.js';
import { levelAt, type NoiseSchedule, timestepSchedule } from '../schedules/schedule.js';
import { rowSteps } from '../solver.js';

/**
 * Steps of a constant stride along the forward process, whatever the table's next row is: DDIM and PNDM of diffusers go from t to
 * t - floor(T / n), T the forward process's length and n the rows, and then tell the network the next row's time. The two are the same
 * where n divides T.
 */
export interface Stride {
  /** The level `strides` strides below a time (above it when negative); past the forward process's start the table's last row. */
  below(time: number, strides?: number): NoiseLevel;
}

/** The stride of a table along its forward process. */
export function strideOf(process: DiscreteProcess, table: NoiseSchedule): Stride {
  const stride = Math.floor(process.alpha.length / rowSteps(table));
  return {
    below: (time, strides = 1) => {
      const there = time - strides * stride;
      return there < 0 ? levelAt(table, rowSteps(table)) : levelAt(timestepSchedule(process, [there]), 0);
    },
  };
}

/** Complaints about tables that are not made of whole times of a forward process. */
export function needsWholeTimes(process: DiscreteProcess, { time }: NoiseSchedule): string[] {
  const ofChain = time?.slice(0, -1).every((t) => Number.isInteger(t) && t >= 0 && t < process.alpha.length);
  return ofChain ? [] : [`needs a table of whole times of its forward process, 0 to ${process.alpha.length - 1}`];
}
