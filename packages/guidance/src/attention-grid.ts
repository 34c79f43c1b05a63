import { type AttentionCall, InvalidArgumentError } from '@mezzotint/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Which of an attention's queries are a picture: `height` rows of `width`, from token `first` on. */
export interface Grid {
  readonly first: number;
  readonly height: number;
  readonly width: number;
}

/** Finds the picture among the queries of an attention. */
export type GridOf = (call: AttentionCall) => Grid;

/**
 * The grid of a network whose queries are all of the picture, in the proportions of x `[N, H, W, C]`.
 *
 * @throws InvalidArgumentError when the number of queries is no such grid
 */
export function gridLike(x: tf.Tensor4D): GridOf {
  const [, h, w] = x.shape;
  return ({ q }) => {
    const tokens = q.shape[2];
    const height = Math.round(Math.sqrt((tokens * h) / w));
    const width = tokens / height;
    if (!Number.isInteger(width) || height * w !== width * h) {
      throw new InvalidArgumentError(
        'attention grid',
        `${tokens} queries are no grid in the proportions of [${x.shape}]: give { grid } for networks with other tokens beside the picture`,
      );
    }
    return { first: 0, height, width };
  };
}
