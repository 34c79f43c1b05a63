import * as tf from '@tensorflow/tfjs';
import { describe, expect, test } from 'vitest';
import { expectLikeCpu, normals } from './against-cpu.js';
import { Dice, randomProgram } from './random-programs.js';

// Fourteen random steps, each a sum of at most some thousand float32 numbers: 1e-4 is some thousand roundings.
const TOLERANCE = 2e-4;
const LENGTH = 14;

// Whole blocks of channels, two of them, an image's three, matrices and vectors.
const SHAPES = [[2, 8, 8, 16], [1, 4, 6, 32], [2, 5, 7, 3], [3, 16], [2, 6, 16], [2, 3, 4, 5], [16], [4, 4, 4, 16]];

const seeds = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);
const inputs = (seed: number): [tf.Tensor, tf.Tensor] => {
  const shape = SHAPES[seed % SHAPES.length]!;
  return [normals(shape, seed + 1), normals(shape, seed + 2)];
};

describe('random programs compute what they compute on cpu', () => {
  test.each(seeds(0, 16))('program %i', (seed) => {
    expectLikeCpu(() => randomProgram(seed, LENGTH, inputs(seed)).outputs, TOLERANCE);
  });

  test.each(seeds(100, 8))('program %i, read in its middle', (seed) => {
    const dice = new Dice(seed);
    expectLikeCpu(() => {
      const visit = (x: tf.Tensor): void => {
        if (tf.getBackend() === 'onnxruntime' && dice.roll(4) === 0) tf.clone(x).dataSync();
      };
      return randomProgram(seed, LENGTH, inputs(seed), { visit }).outputs;
    }, TOLERANCE);
  });

  test.each(seeds(200, 8))('gradients of program %i', (seed) => {
    expectLikeCpu(() => {
      const loss = (x: tf.Tensor, y: tf.Tensor): tf.Tensor => {
        const { outputs } = randomProgram(seed, LENGTH, [x, y], { differentiable: true });
        // The product makes both inputs count even where the program forgot one.
        return tf.addN([tf.sum(tf.mul(x, y)), ...outputs.map((made) => tf.sum(tf.tanh(made)))]);
      };
      return tf.grads(loss)(inputs(seed));
    }, TOLERANCE);
  });
});

test('nothing is left of a program but its outputs', () => {
  tf.setBackend('onnxruntime');
  const before = tf.memory();
  tf.dispose(tf.tidy(() => randomProgram(7, LENGTH, inputs(7)).outputs));
  const after = tf.memory();
  expect([after.numTensors, after.numDataBuffers]).toEqual([before.numTensors, before.numDataBuffers]);
});
