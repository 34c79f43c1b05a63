import { InvalidArgumentError } from '@mezzotint/core';

/** Windows over the spatial axes: sizes of the axes and of the windows, dilation included. */
export interface Windows {
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly window: readonly number[];
  readonly strides: readonly number[];
}

/**
 * Padding (before each axis, then after each) with which ONNX's floor gives exactly `output` windows. TensorFlow.js counts
 * them in its own ways (`dimRoundingMode`, one number for windows that are not square, negative padding where a stride is
 * larger than its window) and reads zeros beyond the end; ONNX wants that as padding. Undefined where elements at the end
 * would have to be cut off.
 *
 * @throws InvalidArgumentError where a window is larger than the padded input
 */
export function fittedPads(
  kernel: string,
  { input, output, window, strides }: Windows,
  before: readonly number[],
  after: readonly number[],
): number[] | undefined {
  if (output.some((size) => size < 0)) {
    const padded = input.map((size, axis) => size + before[axis]! + after[axis]!);
    throw new InvalidArgumentError(
      kernel,
      `expected an input of at least [${window}] with its padding, got [${padded}]; pad it or take a smaller window`,
    );
  }
  const starts = before.map((size) => Math.max(0, size));
  const ends = input.map((size, axis) => {
    const reached = (output[axis]! - 1) * strides[axis]! + window[axis]!;
    const least = reached - size - starts[axis]!;
    return Math.max(least, Math.min(Math.max(0, after[axis]!), least + strides[axis]! - 1));
  });
  return ends.some((size) => size < 0) ? undefined : [...starts, ...ends];
}
