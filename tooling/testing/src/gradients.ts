import { type Module, Param, TorchGenerator } from '@mezzotint/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/** The parameters that are trained. */
function trained(model: Module): Map<string, Param> {
  return new Map([...model.params()].filter(([, param]) => param.trainable));
}

/** Gradient of a loss with respect to every parameter that is trained. */
export async function gradientsOf(model: Module, loss: () => tf.Scalar) {
  const params = trained(model);
  const before = tf.memory().numTensors;
  const { value, grads } = tf.variableGrads(
    () => tf.tidy(loss),
    [...params.values()].map((param) => param.variable),
  );
  value.dispose();
  const byName = Object.fromEntries(
    [...params].map(([name, param]) => [name, grads[param.variable.name]?.dataSync() as Float32Array | undefined]),
  );
  tf.dispose(grads);
  expect(tf.memory().numTensors).toBe(before);
  return byName;
}

/** The derivative of the loss along `direction`, by a central difference. */
function slope(model: Module, loss: () => tf.Scalar, direction: Readonly<Record<string, Float32Array>>, step: number) {
  const at = (sign: number) =>
    tf.tidy(() => {
      const moved = [...trained(model)].map(([name, param]) => {
        const change = tf.mul(tf.tensor(direction[name]!, [...param.shape]), sign * step);
        return [param, tf.add(param.value, change)] as const;
      });
      return Param.substituteAll(moved, () => loss().dataSync()[0]!);
    });
  return (at(1) - at(-1)) / (2 * step);
}

function unit(v: Float32Array): Float32Array {
  const length = Math.hypot(...v) || 1;
  return v.map((value) => value / length);
}

/** How gradients are checked. */
export interface CheckOptions {
  /** Parameters whose gradient is zero by nature. */
  readonly silent?: readonly string[];
  /** Step of the difference quotient; 3e-4 when absent. */
  readonly step?: number;
  /** Relative error of the slope that is allowed; 1 % when absent. */
  readonly tolerance?: number;
}

/** Asserts that the loss's gradient reaches every parameter that is trained, and is the slope of the loss. */
export async function checkGradients(
  model: Module,
  loss: () => tf.Scalar,
  { silent = [], step = 3e-4, tolerance = 0.01 }: CheckOptions = {},
): Promise<void> {
  const byName = await gradientsOf(model, loss);
  for (const [name, gradient] of Object.entries(byName)) {
    expect(gradient, `${name} gets no gradient`).toBeDefined();
    expect(gradient!.every(Number.isFinite), name).toBe(true);
    const most = Math.max(...gradient!.map(Math.abs));
    // A bias behind which a norm takes the mean away is zero but for rounding.
    if (silent.includes(name)) expect(most, name).toBeLessThan(1e-5);
    else expect(most, `${name} gets no gradient`).toBeGreaterThan(1e-7);
  }
  // Along each parameter's gradient, made a unit vector, and half as much of another random unit vector: the difference
  // quotient has an error of order step^2 and rounding of 1e-7 / step, both below the tolerance times this slope; a
  // wrong or missing term of any layer is far above.
  const rng = new TorchGenerator(7);
  const direction = Object.fromEntries(
    Object.entries(byName).map(([name, g]) => {
      const random = unit(rng.randn(g!.length));
      return [name, unit(g!).map((value, i) => (silent.includes(name) ? 0 : value + 0.5 * random[i]!))];
    }),
  );
  const expected = Object.entries(byName).reduce(
    (sum, [name, g]) => sum + g!.reduce((inner, value, i) => inner + value * direction[name]![i]!, 0),
    0,
  );
  expect(Math.abs(slope(model, loss, direction, step) / expected - 1)).toBeLessThan(tolerance);
}
