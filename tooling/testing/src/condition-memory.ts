import { conditionMemory, withConditionMemory } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/**
 * Runs two steps of a network, as they are and with a memory of its conditions, and expects the same outputs, and no tensor left.
 *
 * @returns the matrix products that the second step does without
 */
export async function productsSaved(
  conditions: readonly tf.Tensor[],
  steps: readonly [() => tf.Tensor, () => tf.Tensor],
): Promise<number> {
  const run = async (step: () => tf.Tensor) => {
    let output: ArrayLike<number> = [];
    const { kernels, result } = await tf.profile(() => {
      output = tf.tidy(() => step().dataSync());
      return tf.scalar(0);
    });
    tf.dispose(result as tf.Tensor);
    return { output: Array.from(output), products: kernels.filter(({ name }) => /MatMul/.test(name)).length };
  };
  const plain = [await run(steps[0]), await run(steps[1])] as const;
  const before = tf.memory().numTensors;
  const memory = conditionMemory(conditions);
  const remembered = [
    await run(() => withConditionMemory(memory, steps[0])),
    await run(() => withConditionMemory(memory, steps[1])),
  ] as const;
  memory.dispose();
  expect(tf.memory().numTensors).toBe(before);
  for (const i of [0, 1] as const) expect(remembered[i].output).toEqual(plain[i].output);
  expect(remembered[0].products).toBe(plain[0].products);
  return plain[1].products - remembered[1].products;
}
